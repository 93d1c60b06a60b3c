// A team of threads runs a plan. Each thread starts with a stretch of an operation's units of its own, so that it reads its weights
// as one stream, and then helps with what the others have left; between two operations everyone meets at a barrier.
// The last to arrive also runs operations of a single unit, alone, before it lets the others go: most steps are small, and a
// barrier costs more than a norm. What is not the plan's, as sampling its rows, the threads take item by item.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "include/ck_plan.h"
#include "include/ck_variant.h"
#include "units.h"

enum { SPIN_NANOSECONDS = 20000, ACTIVE_BITS = 8 };

// A word that changes, and how many threads sleep on it.
typedef struct {
    _Alignas(64) atomic_uint value;
    atomic_uint sleepers;
} gate;

typedef struct {
    struct ck_team *team;
    int32_t index;
    pthread_t thread;
} worker;

// Units of a thread's stretch that somebody has claimed.
typedef struct {
    _Alignas(64) atomic_int claimed;
} stretch;

struct ck_team {
    gate step;   // (number of the step << ACTIVE_BITS) | threads that take part
    gate phase;  // number of the barrier
    _Alignas(64) atomic_uint arrived;
    stretch *stretches;
    const ck_plan *plan;    // NULL where the step is `items`
    struct {
        ck_item_body body;
        void *context;
        int32_t count, threads;
    } items;
    const ck_op *first;     // what the caller does not run alone
    unsigned first_phase;   // the gate's value until that begins
    atomic_bool stop;
    bool profile;
    uint64_t nanoseconds[CK_OP_LOGITS + 1];
    int32_t threads, started;
    worker *workers;
};

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Waits until the gate is no longer `old`; spins for a while first, since most waits are shorter than a system call.
static unsigned await(gate *g, unsigned old) {
    unsigned value;
    const uint64_t deadline = now() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < 64; i++) {
            if ((value = atomic_load_explicit(&g->value, memory_order_acquire)) != old) return value;
            pause_cpu();
        }
    } while (now() < deadline);
    atomic_fetch_add(&g->sleepers, 1);
    while ((value = atomic_load(&g->value)) == old) {
#if defined(__linux__)
        syscall(SYS_futex, &g->value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
#else
        sched_yield();
#endif
    }
    atomic_fetch_sub(&g->sleepers, 1);
    return value;
}

static void open_gate(gate *g, unsigned value) {
    atomic_store(&g->value, value);
#if defined(__linux__)
    if (atomic_load(&g->sleepers)) syscall(SYS_futex, &g->value, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
#endif
}

int32_t ck_op_units(const ck_plan *plan, const ck_op *op) {
    const int32_t rows = rows_of(plan, op);
    if (rows == 0) return 0;
    switch (op->kind) {
    case CK_OP_QKV: case CK_OP_PROJECT: case CK_OP_SWIGLU: case CK_OP_LOGITS: {
        int32_t units = 0;
        for (int32_t i = 0; i < counted_matrices(op); i++) units += matrix_units(plan, op, i);
        return units * ((rows + CK_TILE - 1) / CK_TILE);
    }
    case CK_OP_ATTENTION: return plan->run_count * attention_units(plan, cut_attention(plan));
    case CK_OP_MERGE: return cut_attention(plan).splits ? rows : 0;
    default: return (rows + CK_GROUP - 1) / CK_GROUP;
    }
}

size_t ck_kv_value_offset(int32_t kv_type, int32_t head_size) {
    const size_t size = (size_t)head_size, padded = (size + CK_BLOCK - 1) / CK_BLOCK * CK_BLOCK;
    return kv_type == CK_KV_Q8 ? 16 * (padded + sizeof(float)) : 16 * size * sizeof(uint16_t);
}

size_t ck_kv_head_bytes(int32_t kv_type, int32_t head_size) {
    const size_t size = (size_t)head_size, values = kv_type == CK_KV_Q8 ? 16 * (size + sizeof(float)) : 16 * size * sizeof(uint16_t);
    return ck_kv_value_offset(kv_type, head_size) + values;
}

size_t ck_scratch_bytes(int32_t head_size, int32_t embedding) {
    const size_t query_groups = CK_QUERIES / CK_GROUP * (((size_t)head_size + CK_BLOCK - 1) / CK_BLOCK) * sizeof(ck_group);
    const size_t attention = (CK_QUERIES * CK_SPLIT + CK_QUERIES * (size_t)head_size) * 4 + query_groups;
    const size_t blas = (size_t)CK_TILE * CK_BLAS_PANELS * CK_LANES * 4;
    const size_t row = (size_t)embedding * 4;
    size_t most = attention > blas ? attention : blas;
    if (row > most) most = row;
    return (most + 127) & ~(size_t)63;  // a line between the threads
}

static void alone(const ck_plan *plan, const ck_op *op, int32_t thread, int32_t units) {
    plan->variant->run(plan, op, thread, 0, units);
}

static void count_time(ck_team *team, int32_t thread, const ck_op *op, uint64_t *since) {
    if (!team->profile || thread != 0) return;
    const uint64_t t = now();
    team->nanoseconds[op->kind] += t - *since;
    *since = t;
}

static inline int32_t first_unit(int32_t units, int32_t thread, int32_t threads) {
    return (int32_t)((int64_t)units * thread / threads);
}

static void execute(ck_team *team, const ck_plan *plan, int32_t thread) {
    const ck_op *op = team->first, *end = plan->ops + plan->op_count;
    unsigned phase = team->first_phase;
    uint64_t since = team->profile ? now() : 0;
    if (thread != 0) await(&team->phase, phase);
    phase++;
    while (op < end) {
        const int32_t units = ck_op_units(plan, op);
        for (int32_t i = 0; i < plan->threads; i++) {
            const int32_t owner = (thread + i) % plan->threads, first = first_unit(units, owner, plan->threads);
            const int32_t count = first_unit(units, owner + 1, plan->threads) - first;
            for (int32_t n; (n = atomic_fetch_add_explicit(&team->stretches[owner].claimed, 1, memory_order_relaxed)) < count;)
                plan->variant->run(plan, op, thread, first + n, first + n + 1);
        }

        const ck_op *next = op + 1;
        while (next < end && ck_op_units(plan, next) <= 1) next++;
        if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == (unsigned)plan->threads) {
            count_time(team, thread, op, &since);
            for (const ck_op *single = op + 1; single < next; single++) {
                alone(plan, single, thread, ck_op_units(plan, single));
                count_time(team, thread, single, &since);
            }
            atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
            for (int32_t i = 0; i < plan->threads; i++)
                atomic_store_explicit(&team->stretches[i].claimed, 0, memory_order_relaxed);
            open_gate(&team->phase, phase + 1);
        } else {
            await(&team->phase, phase);
            count_time(team, thread, op, &since);
        }
        phase++;
        op = next;
    }
}

// The items that nobody has claimed, one after the other. Only the caller waits for the others: they have nothing to do next.
static void execute_items(ck_team *team, int32_t thread) {
    atomic_int *claimed = &team->stretches[0].claimed;
    const unsigned phase = team->first_phase, threads = (unsigned)team->items.threads;
    const int32_t count = team->items.count;
    for (int32_t n; (n = atomic_fetch_add_explicit(claimed, 1, memory_order_relaxed)) < count;)
        team->items.body(team->items.context, thread, n);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == threads) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(claimed, 0, memory_order_relaxed);
        open_gate(&team->phase, phase + 1);
    } else if (thread == 0) {
        await(&team->phase, phase);
    }
}

static void *work(void *argument) {
    worker *w = argument;
    ck_team *team = w->team;
    unsigned seen = 0;
    for (;;) {
        seen = await(&team->step, seen);
        if (atomic_load(&team->stop)) return NULL;
        // Only threads of the step look at its plan: for the others it may be over already.
        if ((unsigned)w->index >= (seen & ((1u << ACTIVE_BITS) - 1))) continue;
        if (team->plan) execute(team, team->plan, w->index);
        else execute_items(team, w->index);
    }
}

ck_team *ck_team_create(int32_t threads) {
    if (threads < 1 || threads >= 1 << ACTIVE_BITS) return NULL;
    ck_team *team = aligned_alloc(64, (sizeof *team + 63) & ~(size_t)63);
    if (!team) return NULL;
    memset(team, 0, sizeof *team);
    team->threads = threads;
    team->workers = calloc((size_t)threads, sizeof(worker));
    team->stretches = aligned_alloc(64, (size_t)threads * sizeof(stretch));
    if (!team->workers || !team->stretches) {
        ck_team_destroy(team);
        return NULL;
    }
    memset(team->stretches, 0, (size_t)threads * sizeof(stretch));
    sigset_t all, old;  // signals belong to the process's own threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (int32_t i = 1; i < threads; i++) {
        team->workers[i] = (worker){.team = team, .index = i};
        if (pthread_create(&team->workers[i].thread, NULL, work, &team->workers[i])) break;
        team->started = i;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (team->started == threads - 1) return team;
    ck_team_destroy(team);
    return NULL;
}

void ck_team_destroy(ck_team *team) {
    if (!team) return;
    atomic_store(&team->stop, true);
    open_gate(&team->step, atomic_load(&team->step.value) + (1u << ACTIVE_BITS));
    for (int32_t i = 1; i <= team->started; i++) pthread_join(team->workers[i].thread, NULL);
    free(team->workers);
    free(team->stretches);
    free(team);
}

// Operations at a step's beginning that the caller runs while the others wake up, which takes some 50 microseconds.
static bool is_short(const ck_plan *plan, const ck_op *op) {
    const int32_t units = ck_op_units(plan, op);
    return units <= 1 || (units <= 8 && (op->kind == CK_OP_EMBED || op->kind == CK_OP_NORM));
}

static void begin_step(ck_team *team, int32_t threads) {
    const unsigned step = (atomic_load(&team->step.value) >> ACTIVE_BITS) + 1;
    open_gate(&team->step, step << ACTIVE_BITS | (unsigned)threads);
}

void ck_team_each(ck_team *team, int32_t threads, int32_t count, ck_item_body body, void *context) {
    if (threads > team->threads) threads = team->threads;
    if (threads <= 1 || count <= CK_FEW_ITEMS) {
        for (int32_t i = 0; i < count; i++) body(context, 0, i);
        return;
    }
    team->plan = NULL;
    team->items.body = body;
    team->items.context = context;
    team->items.count = count;
    team->items.threads = threads < count ? threads : count;
    team->first_phase = atomic_load_explicit(&team->phase.value, memory_order_relaxed);
    begin_step(team, team->items.threads);
    execute_items(team, 0);
}

void ck_plan_run(ck_team *team, const ck_plan *plan) {
    if (plan->threads <= 1) {
        uint64_t since = team->profile ? now() : 0;
        for (const ck_op *op = plan->ops; op < plan->ops + plan->op_count; op++) {
            alone(plan, op, 0, ck_op_units(plan, op));
            count_time(team, 0, op, &since);
        }
        return;
    }
    const ck_op *first = plan->ops, *end = plan->ops + plan->op_count;
    while (first < end && is_short(plan, first)) first++;
    team->plan = plan;
    team->first = first;
    team->first_phase = atomic_load_explicit(&team->phase.value, memory_order_relaxed);
    if (first < end) begin_step(team, plan->threads);
    uint64_t since = team->profile ? now() : 0;
    for (const ck_op *op = plan->ops; op < first; op++) {
        alone(plan, op, 0, ck_op_units(plan, op));
        count_time(team, 0, op, &since);
    }
    if (first == end) return;
    open_gate(&team->phase, team->first_phase + 1);
    execute(team, plan, 0);
}

void ck_team_profile(ck_team *team, bool on) {
    team->profile = on;
    memset(team->nanoseconds, 0, sizeof team->nanoseconds);
}

uint64_t ck_team_nanoseconds(const ck_team *team, int32_t kind) {
    return kind >= 0 && kind <= CK_OP_LOGITS ? team->nanoseconds[kind] : 0;
}
