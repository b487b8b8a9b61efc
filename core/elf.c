/* Is a file a whole shared object for this machine? Its headers are compared with those of the program or library that
 * this code is in, and with its size. They are read by pread, never mapped: a truncated file that is mapped is a
 * SIGBUS. Whatever stands in the headers, nothing is read that is not in the file. It runs nothing of the file, and
 * does not look for its symbols: that is the loader's job. Called by core/module.c, in a child process or a thread. */
#include "core/elf.h"

#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "core/error.h"
#include "core/regular.h"

/* The ELF header of the program or library that this code is in, given by the linker: what "this machine" is. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

struct elf {
    const char *path;
    int fd;
    uint64_t bytes;
    ElfW(Ehdr) head;
};

static const char *machine_name(unsigned machine, char buffer[32])
{
    static const struct {
        unsigned machine;
        const char *name;
    } known[] = { { EM_X86_64, "x86-64" },  { EM_AARCH64, "AArch64" }, { EM_386, "32-bit x86" },
                  { EM_ARM, "32-bit ARM" }, { EM_PPC64, "POWER" },     { EM_RISCV, "RISC-V" },
                  { EM_S390, "IBM Z" },     { EM_MIPS, "MIPS" } };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].machine == machine)
            return known[i].name;
    snprintf(buffer, 32, "ELF machine %u", machine);
    return buffer;
}

static int truncated(const struct elf *elf, mamuto_error_t *err)
{
    return mm_error_set(err, MAMUTO_EMODULE, "%s: truncated: it has only %llu bytes, and its headers tell of more",
                        mm_regular_shown(elf->path), (unsigned long long)elf->bytes);
}

static int unsuited(const struct elf *elf, const char *what, mamuto_error_t *err)
{
    return mm_error_set(err, MAMUTO_EMODULE, "%s is not a shared object for this machine: %s",
                        mm_regular_shown(elf->path), what);
}

static bool is_inside(const struct elf *elf, uint64_t offset, uint64_t bytes)
{
    return offset <= elf->bytes && bytes <= elf->bytes - offset;
}

static bool read_at(const struct elf *elf, uint64_t offset, void *to, size_t bytes)
{
    return is_inside(elf, offset, bytes) && pread(elf->fd, to, bytes, (off_t)offset) == (ssize_t)bytes;
}

static int check_head(struct elf *elf, mamuto_error_t *err)
{
    const ElfW(Ehdr) *own = &__ehdr_start, *head = &elf->head;
    size_t n = elf->bytes < sizeof *head ? (size_t)elf->bytes : sizeof *head;
    if (!read_at(elf, 0, &elf->head, n))
        return mm_error_set(err, MAMUTO_EMODULE, "%s cannot be read: %s", mm_regular_shown(elf->path), strerror(errno));
    if (memcmp(head->e_ident, ELFMAG, n < SELFMAG ? n : SELFMAG))
        return unsuited(elf, "it is no ELF file", err);
    if (n < sizeof *head)
        return truncated(elf, err);
    if (head->e_ident[EI_DATA] != own->e_ident[EI_DATA])
        return unsuited(elf, "it has the other byte order", err);
    if (head->e_machine != own->e_machine) {
        char theirs[32], ours[32];
        return mm_error_set(err, MAMUTO_EMODULE, "%s is built for %s, this machine is %s", mm_regular_shown(elf->path),
                            machine_name(head->e_machine, theirs), machine_name(own->e_machine, ours));
    }
    if (head->e_ident[EI_CLASS] != own->e_ident[EI_CLASS])
        return unsuited(elf, sizeof(void *) == 8 ? "it has 32-bit pointers" : "it has 64-bit pointers", err);
    if (head->e_ident[EI_OSABI] != ELFOSABI_SYSV && head->e_ident[EI_OSABI] != ELFOSABI_GNU)
        return unsuited(elf, "it is of another operating system", err);
    if (head->e_type == ET_REL)
        return unsuited(elf, "it is an object file, to be linked with -shared", err);
    if (head->e_type != ET_DYN || head->e_phentsize != sizeof(ElfW(Phdr)))
        return unsuited(elf, head->e_type == ET_EXEC ? "it is a program" : "it is an ELF file of another kind", err);
    return 0;
}

/* Position-independent programs are ET_DYN too; a flag of their dynamic segment tells, and dlopen refuses them. */
static bool is_program(const struct elf *elf, const ElfW(Phdr) * segment)
{
    ElfW(Dyn) entry;
    for (uint64_t at = 0; at + sizeof entry <= segment->p_filesz; at += sizeof entry) {
        if (!read_at(elf, segment->p_offset + at, &entry, sizeof entry) || entry.d_tag == DT_NULL)
            return false;
        if (entry.d_tag == DT_FLAGS_1)
            return (entry.d_un.d_val & DF_1_PIE) != 0;
    }
    return false;
}

static int check_segments(const struct elf *elf, mamuto_error_t *err)
{
    bool loads = false, dynamic = false;
    for (unsigned i = 0; i < elf->head.e_phnum; i++) {
        ElfW(Phdr) segment;
        uint64_t at;
        if (__builtin_add_overflow((uint64_t)elf->head.e_phoff, i * sizeof segment, &at) ||
            !read_at(elf, at, &segment, sizeof segment))
            return truncated(elf, err);
        if (segment.p_type != PT_LOAD && segment.p_type != PT_DYNAMIC)
            continue;
        if (!is_inside(elf, segment.p_offset, segment.p_filesz))
            return truncated(elf, err);
        if (segment.p_type == PT_DYNAMIC && is_program(elf, &segment))
            return unsuited(elf, "it is a program", err);
        loads |= segment.p_type == PT_LOAD;
        dynamic |= segment.p_type == PT_DYNAMIC;
    }
    return loads && dynamic ? 0 : unsuited(elf, "it holds nothing to load", err);
}

int mm_elf_check(const char *path, mamuto_error_t *err)
{
    struct elf elf = { .path = path };
    elf.fd = mm_regular_open(path, &elf.bytes, err);
    if (elf.fd < 0)
        return elf.fd;
    int rc = check_head(&elf, err);
    if (!rc)
        rc = check_segments(&elf, err);
    /* Linkers write the section headers last, so a file that is cut lacks them. A stripped one may have none. */
    uint64_t n = elf.head.e_shnum ? elf.head.e_shnum : 1; /* 0: their number is in the first of them */
    if (!rc && elf.head.e_shoff && !is_inside(&elf, elf.head.e_shoff, n * elf.head.e_shentsize))
        rc = truncated(&elf, err);
    close(elf.fd);
    return rc;
}
