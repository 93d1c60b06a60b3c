// A panel against a few rows, for the formats whose quants lie in planes (quant_planes.h). Each variant gives one operation for them:
//
//   dot_planes(w, planes, offset, x, first, rows, part, sum)   sum[r] = sum of (quant - offset) * q[first + r], exact, over the
//                                                              columns 0...15 (part 0), 16...31 (part 1) or all (part 2)

// Formats with one F16 scale, or a scale and a minimum, for 32 columns: Q5_0, Q5_1, IQ4_NL.
CK_INLINE void tile_planes(const uint8_t *panel, const int format, int blocks, const ck_group *x, int first, const int rows, v16 *f) {
    const int planes = planes_of(format), bytes = plane_bytes(planes), scales = has_minimum(format) ? 32 : 16;
    const uint8_t *w = panel, *ahead = panel + CK_AHEAD;
    const uint16_t *scale = (const uint16_t *)(panel + (size_t)blocks * (size_t)bytes);
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) f[r] = v_zero();
    for (int b = 0; b < blocks; b++, w += bytes, ahead += bytes + 2 * scales, scale += scales, x++) {
        _Pragma("clang loop unroll(full)") for (int line = 0; line < bytes + 2 * scales; line += 64) v_prefetch(ahead + line);
        w16 sum[CK_GROUP];
        dot_planes(w, planes, quant_offset(format), x, first, rows, 2, sum);
        const v16 d = v_load_f16(scale);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
            f[r] = v_fma(v_mul(d, v_set1(x->d[first + r])), v_from_int(sum[r]), f[r]);
        if (has_minimum(format)) {
            const v16 m = v_load_f16(scale + 16);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) f[r] = v_fma(m, v_set1(x->s[first + r]), f[r]);
        }
    }
}

// Formats with super-blocks of 256 columns. d times an integer scale is exact in F32: 11 bits by 8 at most.
CK_INLINE void tile_super(const uint8_t *panel, const int format, int supers, const ck_group *x, int first, const int rows, v16 *f) {
    const int planes = planes_of(format), bytes = plane_bytes(planes), offset = quant_offset(format);
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) f[r] = v_zero();
    for (int s = 0; s < supers; s++) {
        const uint8_t *scale = panel + 64, *w = panel + super_header(format);
        _Pragma("clang loop unroll(full)") for (int line = 0; line < super_header(format); line += 64) v_prefetch(panel + CK_AHEAD + line);
        const v16 d = v_load_f16((const uint16_t *)panel);
        const v16 dmin = has_minimum(format) ? v_sub(v_zero(), v_load_f16((const uint16_t *)(panel + 32))) : v_zero();
        for (int b = 0; b < 8; b++, w += bytes, x++) {
            _Pragma("clang loop unroll(full)") for (int line = 0; line < bytes; line += 64) v_prefetch(w + CK_AHEAD + line);
            w16 sum[CK_GROUP];
            if (scale_columns(format) == 32) {
                dot_planes(w, planes, offset, x, first, rows, 2, sum);
                const w16 integer = format == CK_IQ4_XS ? w_load_i8(scale + 16 * b) : w_load_u8(scale + 16 * b);
                const v16 dw = v_mul(d, v_from_int(integer));
                _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
                    f[r] = v_fma(v_mul(dw, v_set1(x->d[first + r])), v_from_int(sum[r]), f[r]);
                if (has_minimum(format)) {
                    const v16 mw = v_mul(dmin, v_from_int(w_load_u8(scale + 128 + 16 * b)));
                    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) f[r] = v_fma(mw, v_set1(x->s[first + r]), f[r]);
                }
            } else {
                const uint8_t *pair = scale + 32 * b;
                const w16 low = format == CK_Q2_K ? w_load_u8(pair) : w_load_i8(pair);
                const w16 high = format == CK_Q2_K ? w_load_u8(pair + 16) : w_load_i8(pair + 16);
                const v16 dw0 = v_mul(d, v_from_int(format == CK_Q2_K ? w_low4(low) : low));
                const v16 dw1 = v_mul(d, v_from_int(format == CK_Q2_K ? w_low4(high) : high));
                v16 t[CK_GROUP];
                dot_planes(w, planes, offset, x, first, rows, 0, sum);
                _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) t[r] = v_mul(dw0, v_from_int(sum[r]));
                dot_planes(w, planes, offset, x, first, rows, 1, sum);
                _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) t[r] = v_fma(dw1, v_from_int(sum[r]), t[r]);
                if (has_minimum(format)) {
                    // The groups hold -32 times the sums of 16 quants: the power of two goes away exactly.
                    const v16 thirty_second = v_mul(dmin, v_set1(-1.0f / 32.0f));
                    const v16 m0 = v_mul(thirty_second, v_from_int(w_high4(low))), m1 = v_mul(thirty_second, v_from_int(w_high4(high)));
                    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                        t[r] = v_fma(m0, v_set1((float)x->h32[0][first + r]), t[r]);
                        t[r] = v_fma(m1, v_set1((float)x->h32[1][first + r]), t[r]);
                    }
                }
                _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) f[r] = v_fma(v_set1(x->d[first + r]), t[r], f[r]);
            }
        }
        panel = w;
    }
}
