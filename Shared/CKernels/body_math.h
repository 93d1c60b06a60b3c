// Elementary functions over 16 lanes, in one fixed sequence of IEEE operations. No libm: its bits differ from version to version.

// e^x. Below -87: 0; above 88: as at 88. The error is below 2 units in the last place: the Taylor polynomial of degree 7
// on |r| <= ln(2)/2 leaves out less than 6e-9.
CK_INLINE v16 v_exp(v16 x) {
    const v16 floor = v_set1(-87.0f), magic = v_set1(12582912.0f);
    v16 c = v_min(v_max(x, floor), v_set1(88.0f));
    v16 t = v_fma(c, v_set1(0x1.715476p+0f), magic);
    v16 n = v_sub(t, magic);
    v16 r = v_fma(n, v_set1(-0x1.62e4p-1f), c);  // n * the high part of ln 2 is exact
    r = v_fma(n, v_set1(-0x1.7f7d1cp-20f), r);
    v16 p = v_set1(1.0f / 5040.0f);
    p = v_fma(p, r, v_set1(1.0f / 720.0f));
    p = v_fma(p, r, v_set1(1.0f / 120.0f));
    p = v_fma(p, r, v_set1(1.0f / 24.0f));
    p = v_fma(p, r, v_set1(1.0f / 6.0f));
    p = v_fma(p, r, v_set1(0.5f));
    p = v_fma(p, r, v_set1(1.0f));
    p = v_fma(p, r, v_set1(1.0f));
    return v_keep_nan(x, v_where_less(x, floor, v_zero(), v_mul(p, v_power(t))));
}

// silu(g) * u = g / (1 + e^-g) * u
CK_INLINE v16 v_swiglu(v16 g, v16 u) {
    return v_mul(v_div(g, v_add(v_set1(1.0f), v_exp(v_sub(v_zero(), g)))), u);
}

// cos and sin of 2 pi * turns for |turns| <= 1/2: Taylor polynomials on an eighth of a turn to either side of a quarter.
CK_INLINE void cos_sin(float turns, float *cosine, float *sine) {
    float quarter = (turns * 4.0f + 12582912.0f) - 12582912.0f;
    float a = (turns * 4.0f - quarter) * 1.57079632679489662f, b = a * a;
    float s = 1.0f / 362880.0f;
    s = __builtin_fmaf(s, b, -1.0f / 5040.0f);
    s = __builtin_fmaf(s, b, 1.0f / 120.0f);
    s = __builtin_fmaf(s, b, -1.0f / 6.0f);
    s = __builtin_fmaf(s * b, a, a);
    float c = -1.0f / 3628800.0f;
    c = __builtin_fmaf(c, b, 1.0f / 40320.0f);
    c = __builtin_fmaf(c, b, -1.0f / 720.0f);
    c = __builtin_fmaf(c, b, 1.0f / 24.0f);
    c = __builtin_fmaf(c, b, -0.5f);
    c = __builtin_fmaf(c, b, 1.0f);
    switch ((int)quarter & 3) {
    case 0: *cosine = c; *sine = s; break;
    case 1: *cosine = -s; *sine = c; break;
    case 2: *cosine = -c; *sine = -s; break;
    default: *cosine = s; *sine = -c; break;
    }
}

// The angle is reduced in double precision, in turns: exact enough for every position below 2^31.
static void rope(int32_t position, const double *turns, int32_t pairs, float *c, float *s) {
    for (int32_t i = 0; i < pairs; i++) {
        double t = (double)position * turns[i];
        double whole = (t + 6755399441055744.0) - 6755399441055744.0;  // 1.5 * 2^52
        float cosine, sine;
        cos_sin((float)(t - whole), &cosine, &sine);
        c[2 * i] = c[2 * i + 1] = cosine;
        s[2 * i] = -sine;
        s[2 * i + 1] = sine;
    }
}

// RMSNorm (Zhang and Sennrich, 2019): y = x / sqrt(mean(x^2) + epsilon) * weight. Lane i sums the columns i mod 16 in ascending order.
static void norm(const float *x, const float *weight, float epsilon, int32_t columns, float *y) {
    v16 sum = v_zero();
    for (int32_t k = 0; k < columns; k += 16) {
        v16 a = v_load(x + k);
        sum = v_fma(a, a, sum);
    }
    float mean = v_sum(sum) / (float)columns;
    v16 scale = v_set1(1.0f / __builtin_sqrtf(mean + epsilon));
    for (int32_t k = 0; k < columns; k += 16) v_store(y + k, v_mul(v_mul(v_load(x + k), scale), v_load(weight + k)));
}

// One block of 32: scale = largest magnitude / 127, quants to nearest even. A block with an infinity or a NaN gets the scale NaN, so that
// it shows in every logit; a block below 2^-100 is zero.
CK_INLINE void quantize_block(const float *x, ck_group *g, int r) {
    v16 a = v_load(x), b = v_load(x + 16);
    uint32_t top = v_magnitude(a, b);
    float largest, inverse = 0, d = 0;
    memcpy(&largest, &top, 4);
    if (top >= 0x7f800000u) {
        d = __builtin_nanf("");
        a = b = v_zero();
    } else if (largest >= 0x1p-100f) {
        d = largest / 127.0f;
        inverse = 127.0f / largest;
    }
    v16 scale = v_set1(inverse);
    int32_t low, high;
    v_store_i8(g->q[r], v_mul(a, scale), v_mul(b, scale), &low, &high);
    const int32_t sum = low + high;
    g->d[r] = d;
    g->s[r] = d * (float)sum;
    g->n8[r] = -8 * sum;
    g->h32[0][r] = -32 * low;
    g->h32[1][r] = -32 * high;
}

static void quantize(const float *x, int32_t columns, int32_t row, const ck_activation *out) {
    ck_group *g = out->groups + (size_t)(row / CK_GROUP) * (size_t)(columns / CK_BLOCK);
    for (int32_t b = 0; b < columns / CK_BLOCK; b++) quantize_block(x + b * CK_BLOCK, g + b, row % CK_GROUP);
}

// Stores a finished row of 16n elements in the forms its consumer wants.
CK_INLINE void store_activation(const float *x, int32_t columns, int32_t row, const ck_activation *out) {
    if (out->groups) quantize(x, columns, row, out);
    if (out->rows && out->rows + (size_t)row * (size_t)columns != x)
        memcpy(out->rows + (size_t)row * (size_t)columns, x, (size_t)columns * sizeof(float));
}
