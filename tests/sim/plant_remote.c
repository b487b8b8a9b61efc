/* The planted bugs of the node of another host; as in tests/sim/plant.c. */
#include "net/remote.h"
#include "tests/sim/sim.h"

int real_mm_remote_on_result(struct mm_node *node, const struct mm_frame *frame, size_t done, void **to)
    SIM_REAL(mm_remote_on_result);
int wrap_mm_remote_on_result(struct mm_node *node, const struct mm_frame *frame, size_t done, void **to)
    SIM_WRAP(mm_remote_on_result);
int real_mm_remote_on_result_end(struct mm_node *node, const struct mm_frame *frame) SIM_REAL(mm_remote_on_result_end);
int wrap_mm_remote_on_result_end(struct mm_node *node, const struct mm_frame *frame) SIM_WRAP(mm_remote_on_result_end);
void real_mm_remote_end_runs(struct mm_node *node, const mamuto_error_t *err) SIM_REAL(mm_remote_end_runs);
void wrap_mm_remote_end_runs(struct mm_node *node, const mamuto_error_t *err) SIM_WRAP(mm_remote_end_runs);

int wrap_mm_remote_on_result(struct mm_node *node, const struct mm_frame *frame, size_t done, void **to)
{
    struct mm_remote_lease *lease = mm_remote_find_lease(node, frame->id);
    int code = real_mm_remote_on_result(node, frame, done, to);
    bool drained = lease && !*to && !frame->part && lease->run;
    if (!code && drained && sim_plant == SIM_PLANT_drain_in_place)
        *to = (char *)lease->run->result + (ptrdiff_t)frame->lo * lease->run->result_stride + frame->offset + done;
    if (!code && *to && frame->part == MM_WHAT_MARKS && sim_plant == SIM_PLANT_marks_at_once)
        *to = lease->run->marks + (frame->lo - lease->first) + done;
    return code;
}

int wrap_mm_remote_on_result_end(struct mm_node *node, const struct mm_frame *frame)
{
    struct mm_remote_lease *lease = mm_remote_find_lease(node, frame->id);
    struct mm_frame whole = *frame;
    if (sim_plant == SIM_PLANT_slice_settles && lease && frame->hi - frame->lo == 1 && !frame->part)
        whole.length = mm_frame_prefix(frame->type) + (uint32_t)(lease->out_size - frame->offset);
    return real_mm_remote_on_result_end(node, &whole);
}

/* Leases of a lost agent stay in flight for ever. */
void wrap_mm_remote_end_runs(struct mm_node *node, const mamuto_error_t *err)
{
    if (sim_plant != SIM_PLANT_loss_untold || !err)
        real_mm_remote_end_runs(node, err);
}
