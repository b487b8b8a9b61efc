/* Which files are no shared object for this machine, and what that is called. */
#include "tests/support/modules.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Shared objects ---------------------------------------------------------------------------------------------- */

static void assert_bad(const char *name, const char *text)
{
    mamuto_error_t err = { 0 };
    int rc = mm_module_check(modules_in(name), &err);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
    assert_int_equal(rc, MAMUTO_EMODULE);
    assert_int_equal(mm_module_check(modules_in(name), NULL), MAMUTO_EMODULE);
}

static void make_good(void)
{
    modules_make_file("good.c", "int answer(void) { return 9; }\n");
    modules_shell("gcc -shared -fPIC -o good.so good.c");
    assert_int_equal(mm_module_check(modules_in("good.so"), NULL), 0);
}

static void module_check_of_sound_files_accepts_them(void **state)
{
    (void)state;
    make_good();
    modules_shell("cp good.so stripped.so && strip stripped.so && clang -shared -fPIC -g -o clang.so good.c");
    assert_int_equal(mm_module_check(modules_in("stripped.so"), NULL), 0);
    assert_int_equal(mm_module_check(modules_in("clang.so"), NULL), 0);
    ElfW(Ehdr) head;
    int fd = open("stripped.so", O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &head, sizeof head, 0), sizeof head);
    assert_int_equal(ftruncate(fd, (off_t)head.e_shoff), 0);
    assert_bad("stripped.so", "stripped.so: truncated: ");
    head.e_shoff = 0; /* without section headers, as sstrip leaves it */
    head.e_shnum = head.e_shstrndx = 0;
    assert_int_equal(pwrite(fd, &head, sizeof head, 0), sizeof head);
    close(fd);
    assert_int_equal(mm_module_check(modules_in("stripped.so"), NULL), 0);
    assert_int_equal(modules_answer_of(modules_in("stripped.so")), 9);
}

static void module_check_of_each_shorter_length_says_truncated(void **state)
{
    (void)state;
    make_good();
    struct stat st;
    assert_int_equal(stat("good.so", &st), 0);
    for (off_t length = st.st_size - 1; length > 0; length -= length > 4096 ? 37 : 1) {
        assert_int_equal(truncate("good.so", length), 0);
        assert_bad("good.so", "good.so: truncated: it has only ");
    }
}

static void patch(const char *name, off_t offset, const void *bytes, size_t n)
{
    modules_shell("cp good.so %s", name);
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, bytes, n, offset), n);
    close(fd);
}

static void module_check_of_another_machine_names_both(void **state)
{
    (void)state;
    make_good();
    static const struct {
        uint16_t machine;
        const char *text;
    } machines[] = { { EM_AARCH64, "other.so is built for AArch64, this machine is " },
                     { EM_X86_64, "other.so is built for x86-64, this machine is " },
                     { EM_386, "other.so is built for 32-bit x86, this machine is " },
                     { 9999, "other.so is built for ELF machine 9999, this machine is " } };
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        ElfW(Ehdr) head;
        int fd = open("good.so", O_RDONLY | O_CLOEXEC);
        assert_int_equal(read(fd, &head, sizeof head), sizeof head);
        close(fd);
        patch("other.so", offsetof(ElfW(Ehdr), e_machine), &machines[i].machine, sizeof machines[i].machine);
        if (head.e_machine != machines[i].machine)
            assert_bad("other.so", machines[i].text);
        else
            assert_int_equal(mm_module_check(modules_in("other.so"), NULL), 0);
    }
}

static void module_check_of_another_kind_says_which(void **state)
{
    (void)state;
    make_good();
    unsigned char other_class = sizeof(void *) == 8 ? ELFCLASS32 : ELFCLASS64, abi = ELFOSABI_FREEBSD;
    unsigned char order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2MSB : ELFDATA2LSB;
    uint16_t core = ET_CORE, none = 0;
    patch("class.so", EI_CLASS, &other_class, 1);
    assert_bad("class.so", sizeof(void *) == 8 ? "it has 32-bit pointers" : "it has 64-bit pointers");
    patch("order.so", EI_DATA, &order, 1);
    assert_bad("order.so", "it has the other byte order");
    patch("abi.so", EI_OSABI, &abi, 1);
    assert_bad("abi.so", "it is of another operating system");
    patch("core.so", offsetof(ElfW(Ehdr), e_type), &core, sizeof core);
    assert_bad("core.so", "it is an ELF file of another kind");
    patch("none.so", offsetof(ElfW(Ehdr), e_phnum), &none, sizeof none);
    assert_bad("none.so", "it holds nothing to load");
    modules_make_file("text.so", "/* GNU ld script */\nINPUT(good.so)\n");
    assert_bad("text.so", "text.so is not a shared object for this machine: it is no ELF file");
    modules_make_file("short.so", "E");
    assert_bad("short.so", "it is no ELF file");
    modules_make_file("empty.so", "%s", "");
    assert_bad("empty.so", "empty.so: truncated: it has only 0 bytes");
    modules_make_file("main.c", "int main(void) { return 0; }\n");
    modules_shell("gcc -c -o object.so main.c && gcc -pie -fPIE -o pie.so main.c && gcc -no-pie -o program.so main.c");
    assert_bad("object.so", "it is an object file, to be linked with -shared");
    assert_bad("pie.so", "it is a program");
    assert_bad("program.so", "it is a program");
}

static int check_unreadable(void)
{
    mamuto_error_t err = { 0 };
    if (mm_module_check(modules_in("good.so"), &err) != MAMUTO_EMODULE)
        return 1;
    return strstr(err.text, "good.so cannot be read: Permission denied") ? 0 : 2;
}

static void module_check_of_no_file_says_so(void **state)
{
    (void)state;
    make_good();
    assert_bad("nothing.so", "there is no file \"");
    assert_bad("good.so/x.so", "there is no file \"");
    assert_int_equal(mkdir("folder.so", 0755), 0);
    assert_bad("folder.so", "folder.so is a folder, not a file");
    assert_int_equal(mkfifo("fifo.so", 0600), 0);
    assert_bad("fifo.so", "fifo.so is a device or pipe, not a file");
    assert_int_equal(chmod("good.so", 0), 0);
    assert_int_equal(modules_in_child(modules_nobody, check_unreadable), 0);
}

/* Whatever stands in the headers: an answer, and no byte read that is not there (under ASan and valgrind). */
static void module_check_of_random_headers_gives_an_answer(void **state)
{
    (void)state;
    make_good();
    const char *given = getenv("MAMUTO_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
    print_message("%s: MAMUTO_SEED=%u\n", __func__, seed);
    unsigned char good[2048], bad[2048];
    int fd = open("good.so", O_RDWR | O_CLOEXEC), refusals = 0;
    assert_int_equal(pread(fd, good, sizeof good, 0), sizeof good);
    for (int round = 0; round < 3000; round++) {
        memcpy(bad, good, sizeof good);
        for (int i = rand_r(&seed) % 4; i >= 0; i--)
            bad[16 + rand_r(&seed) % 600] = rand_r(&seed) % 2 ? 0xFF : (unsigned char)rand_r(&seed);
        assert_int_equal(pwrite(fd, bad, sizeof bad, 0), sizeof bad);
        mamuto_error_t err = { 0 };
        int rc = mm_module_check(modules_in("good.so"), &err);
        assert_true(rc == 0 || rc == MAMUTO_EMODULE);
        assert_int_equal(err.code, rc);
        refusals += rc != 0;
    }
    close(fd);
    assert_true(refusals > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MODULES_TEST(module_check_of_sound_files_accepts_them),
        MODULES_TEST(module_check_of_each_shorter_length_says_truncated),
        MODULES_TEST(module_check_of_another_machine_names_both),
        MODULES_TEST(module_check_of_another_kind_says_which),
        MODULES_TEST(module_check_of_no_file_says_so),
        MODULES_TEST(module_check_of_random_headers_gives_an_answer),
    };
    return modules_run("module_check", tests, sizeof tests / sizeof *tests);
}
