/* An arena that starts anew with each pass.
 *
 *   [ bytes of A | bytes of B | …                    ]  address space, touched as needed
 *
 * A burst touches many pages; when several thousand passes have needed far fewer, the rest goes
 * back to the system. Looking at the peak of a window, not at the last pass, keeps steady load from
 * giving pages away that it touches again at once.
 * Thread: owner. */
#include "pass_arena.h"

#include "splitring/base/mem.h"

#define WINDOW_PASSES 4096u
#define KEPT 262144u

bool pass_arena_init(struct pass_arena *arena, size_t len)
{
    *arena = (struct pass_arena){.base = mem_reserve(len, 4096), .len = len};
    return arena->base != NULL;
}

void pass_arena_deinit(struct pass_arena *arena)
{
    if (arena->base) mem_unreserve(arena->base, arena->len);
    arena->base = NULL;
}

void pass_arena_reset(struct pass_arena *arena)
{
    if (arena->used > arena->peak) arena->peak = arena->used;
    if (arena->used > arena->high) arena->high = arena->used;
    arena->used = 0;
    if (++arena->passes < WINDOW_PASSES) return;
    size_t keep = arena->peak > KEPT ? (arena->peak + 4095u) & ~(size_t)4095u : KEPT;
    if (arena->high / 4 > keep) {
        mem_discard(arena->base + keep, arena->len - keep);
        arena->high = keep;
    }
    arena->passes = 0;
    arena->peak = 0;
}
