// Every kernel variant that this CPU has against the scalar twin, bit for bit: pieces on random and extreme values, every weight
// format's tiles, whole plans on one and several threads. In plain C, so that it is also cross-compiled and run under an
// emulator for CPUs that nobody here has (`run` beside it).
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"
#include "plan.h"
#include "random.h"

static int failures;
static long compared;

static void expect_equal(const char *variant, const char *what, const void *expected, const void *actual, size_t bytes) {
    compared++;
    if (memcmp(expected, actual, bytes) == 0) return;
    if (failures++ < 20) fprintf(stderr, "%s: %s differs from the scalar twin\n", variant, what);
}

// NaNs are equal whatever their bits: which of two a CPU passes on is no promise of the contract.
static void expect_equal_floats(const char *variant, const char *what, float *expected, float *actual, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (isnan(expected[i]) && isnan(actual[i])) expected[i] = actual[i] = 0;
    expect_equal(variant, what, expected, actual, count * sizeof(float));
}

enum { COUNT = 4096 };

static void fill(float *x, int count, random_state *random) {
    static const float extremes[] = {0, -0.0f, 1, -1, INFINITY, -INFINITY, NAN, 88, -87, 88.8f, -87.4f, 65504, 65520, 6e-8f, 2e-8f, 1e-45f, 3e38f};
    for (int i = 0; i < count; i++)
        x[i] = i % 16 == 3 ? extremes[next_random(random) % (sizeof extremes / sizeof *extremes)]
                           : random_float(random) * ldexpf(1, (int)(next_random(random) % 40) - 20);
}

static void check_pieces(const ck_variant *twin, const ck_variant *v, random_state *random) {
    static float x[COUNT], y[COUNT], a[COUNT], b[COUNT];
    static uint16_t h[COUNT], p[COUNT], q[COUNT];
    fill(x, COUNT, random);
    fill(y, COUNT, random);
    twin->exp(x, COUNT, a), v->exp(x, COUNT, b);
    expect_equal_floats(v->name, "exp", a, b, COUNT);
    twin->swiglu(x, y, COUNT, a), v->swiglu(x, y, COUNT, b);
    expect_equal_floats(v->name, "swiglu", a, b, COUNT);
    twin->half(x, COUNT, p), v->half(x, COUNT, q);
    expect_equal(v->name, "F32 to F16", p, q, sizeof p);
    for (int from = 0; from < 1 << 16; from += COUNT) {
        for (int i = 0; i < COUNT; i++) h[i] = (uint16_t)(from + i);
        twin->unhalf(h, COUNT, a), v->unhalf(h, COUNT, b);
        expect_equal_floats(v->name, "F16 to F32", a, b, COUNT);
    }
    for (int i = 0; i < COUNT; i++) x[i] = random_float(random), y[i] = random_float(random);
    twin->norm(x, y, 1e-5f, COUNT, a), v->norm(x, y, 1e-5f, COUNT, b);
    expect_equal(v->name, "RMSNorm", a, b, sizeof a);
    double turns[64];
    for (int i = 0; i < 64; i++) turns[i] = fabs((double)random_float(random));
    for (int position = 0; position < 1 << 20; position = position * 3 + 1) {
        twin->rope(position, turns, 64, a, a + 128), v->rope(position, turns, 64, b, b + 128);
        expect_equal(v->name, "rotation", a, b, 256 * sizeof(float));
    }
}

static void check_quantizing(const ck_variant *twin, const ck_variant *v, random_state *random) {
    enum { COLUMNS = 256 };
    static float x[COLUMNS];
    static ck_group a[COLUMNS / CK_BLOCK], b[COLUMNS / CK_BLOCK];
    const ck_activation expected = {a, NULL, COLUMNS}, actual = {b, NULL, COLUMNS};
    for (int row = 0; row < CK_GROUP; row++) {
        if (row < 4) for (int i = 0; i < COLUMNS; i++) x[i] = random_float(random) * ldexpf(1, 20 * row - 30);
        else fill(x, COLUMNS, random);
        twin->quantize(x, COLUMNS, row, &expected), v->quantize(x, COLUMNS, row, &actual);
    }
    for (int i = 0; i < COLUMNS / CK_BLOCK; i++) {
        expect_equal_floats(v->name, "scales of activations", a[i].d, b[i].d, CK_GROUP);
        expect_equal_floats(v->name, "sums of activations", a[i].s, b[i].s, CK_GROUP);
    }
    expect_equal(v->name, "quantised activations", a, b, sizeof a);
}

// Panels of random bytes: any bytes are a panel, though some of its scales are infinite.
static void check_tiles(const ck_variant *twin, const ck_variant *v, random_state *random) {
    static const int widths[] = {256, 512};
    for (int32_t format = 0; format < 64; format++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            const int32_t columns = widths[w];
            const size_t bytes = format == CK_F32_ROWS ? 0 : ck_panel_bytes(format, columns);
            if (bytes == 0) continue;
            uint8_t *panel = aligned(bytes);
            ck_group *groups = aligned((size_t)(columns / CK_BLOCK) * sizeof *groups);
            float *rows = aligned((size_t)columns * CK_GROUP * sizeof *rows);
            for (size_t i = 0; i < bytes; i++) panel[i] = (uint8_t)next_random(random);
            const ck_matrix m = {.data = panel, .panel_stride = bytes, .format = format, .rows = 16, .columns = columns, .panels = 1};
            const ck_activation x = {groups, rows, columns};
            for (int i = 0; i < columns * CK_GROUP; i++) rows[i] = random_float(random);
            for (int r = 0; r < CK_GROUP; r++) twin->quantize(rows + r * columns, columns, r, &x);
            for (int first = 0; first < CK_GROUP; first++)
                for (int count = 1; count <= CK_GROUP - first; count++) {
                    float a[CK_GROUP * 16], b[CK_GROUP * 16];
                    char what[64];
                    snprintf(what, sizeof what, "a tile of format %d, rows %d to %d", format, first, first + count);
                    twin->tile(&m, 0, &x, first, count, a), v->tile(&m, 0, &x, first, count, b);
                    expect_equal_floats(v->name, what, a, b, (size_t)count * 16);
                }
            free(panel), free(groups), free(rows);
        }
    }
}

// The twin takes every row alone, on one thread: slow, so it does each plan once. Kept to the end of the program.
static const result *twin_of(int shape) {
    static result *results[PLAN_SHAPES];
    if (!results[shape]) results[shape] = run_plan(ck_variant_get(CK_SCALAR), shape, 1, 1);
    return results[shape];
}

static void check_plans(const ck_variant *v) {
    for (int shape = 0; shape < PLAN_SHAPES; shape++)
        for (int threads = 1; threads <= 3; threads++) {
            char what[64];
            const result *a = twin_of(shape);
            result *b = run_plan(v, shape, threads, 0);
            snprintf(what, sizeof what, "plan %d on %d threads", shape, threads);
            expect_equal(v->name, what, a->bytes, b->bytes, a->count);
            free(b);
        }
}

int main(void) {
    const ck_variant *twin = ck_variant_get(CK_SCALAR);
    int variants = 0;
    for (int32_t id = 0; id < CK_VARIANT_COUNT; id++) {
        const ck_variant *v = ck_variant_get(id);
        if (!v) continue;
        random_state random = {(uint64_t)id + 1};
        const long before = compared;
        if (v != twin) {
            variants++;
            check_pieces(twin, v, &random);
            check_quantizing(twin, v, &random);
            check_tiles(twin, v, &random);
        }
        check_plans(v);
        printf("%s: %ld comparisons\n", v->name, compared - before);
    }
    printf("%d variants beside the scalar twin, %ld comparisons, %d failed\n", variants, compared, failures);
    return failures == 0 && variants > 0 ? 0 : 1;
}
