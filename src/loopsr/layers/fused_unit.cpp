// A residual unit on a CPU, forward and backward (fused_unit.py has the formula and loads this).
//
// Features lie pixel by pixel, their channels side by side. A row of a picture runs through the
// whole unit while it lies in the cache, and sums stay in registers. WIDTH, HIDDEN (channels, of
// which WIDTH is a multiple of 16) and KERNEL (odd) are given to the compiler.

#include <cstring>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
constexpr int COLUMNS = 4;  // vectors of a sum that are held at a time ...
#elif defined(__AVX__)
constexpr int LANES = 8;
constexpr int COLUMNS = 2;
#else
constexpr int LANES = 4;
constexpr int COLUMNS = 4;
#endif
constexpr int ROWS = 6;  // ... of so many pixels
constexpr int NEIGHBOURS = 8;  // pixels of a depthwise sum that are held at a time
constexpr int TAPS = KERNEL * KERNEL;
constexpr int BORDER = KERNEL / 2;
static_assert(WIDTH % 16 == 0 && HIDDEN % 16 == 0 && KERNEL % 2 == 1, "see above");

// The most columns, up to ``most``, that ``floats`` is a multiple of.
constexpr int columns(int floats, int most) {
    return floats / LANES % most == 0 ? most : columns(floats, most - 1);
}

typedef float Vector __attribute__((vector_size(4 * LANES)));

inline Vector load(const float* from) {
    Vector v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

inline void store(float* to, Vector v) { std::memcpy(to, &v, sizeof v); }

// What becomes of a sum before it is stored, at its place in the output.
struct Plain {
    Vector operator()(Vector sum, long) const { return sum; }
};
struct Positive {
    Vector operator()(Vector sum, long) const { return sum > 0 ? sum : Vector{}; }
};
struct Plus {
    const float* other;
    Vector operator()(Vector sum, long at) const { return sum + load(other + at); }
};
struct WherePositive {
    const float* other;
    Vector operator()(Vector sum, long at) const { return load(other + at) > 0 ? sum : Vector{}; }
};

template <int R, int C, int IN, int OUT, class End>
inline void product_block(const float* a, const float* b, const float* bias, float* out, long at,
                          End end) {
    Vector sum[R][C];
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) sum[r][c] = bias ? load(bias + c * LANES) : Vector{};
    for (int k = 0; k < IN; k++) {
        Vector row[C];
        for (int c = 0; c < C; c++) row[c] = load(b + k * OUT + c * LANES);
        for (int r = 0; r < R; r++)
            for (int c = 0; c < C; c++) sum[r][c] += a[r * IN + k] * row[c];
    }
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) {
            const long place = at + r * OUT + c * LANES;
            store(out + place, end(sum[r][c], place));
        }
}

// out (pixels, OUT) = end(a (pixels, IN) times b (IN, OUT) + bias)
template <int IN, int OUT, class End>
inline void product(const float* a, const float* b, const float* bias, float* out, long pixels,
                    End end) {
    constexpr int C = columns(OUT, COLUMNS);
    for (int column = 0; column < OUT; column += C * LANES) {
        const float* add = bias ? bias + column : nullptr;
        long p = 0;
        for (; p + ROWS <= pixels; p += ROWS)
            product_block<ROWS, C, IN, OUT>(a + p * IN, b + column, add, out, p * OUT + column, end);
        for (; p < pixels; p++)
            product_block<1, C, IN, OUT>(a + p * IN, b + column, add, out, p * OUT + column, end);
    }
}

// sums (M, N) += a (pixels, M), transposed, times b (pixels, N)
template <int M, int N>
inline void outer(const float* a, const float* b, float* sums, long pixels) {
    constexpr int R = 8, C = columns(N, 2);
    for (int m = 0; m < M; m += R)
        for (int n = 0; n < N; n += C * LANES) {
            Vector sum[R][C];
            for (int r = 0; r < R; r++)
                for (int c = 0; c < C; c++) sum[r][c] = load(sums + (m + r) * N + n + c * LANES);
            for (long p = 0; p < pixels; p++) {
                Vector row[C];
                for (int c = 0; c < C; c++) row[c] = load(b + p * N + n + c * LANES);
                for (int r = 0; r < R; r++)
                    for (int c = 0; c < C; c++) sum[r][c] += a[p * M + m + r] * row[c];
            }
            for (int r = 0; r < R; r++)
                for (int c = 0; c < C; c++) store(sums + (m + r) * N + n + c * LANES, sum[r][c]);
        }
}

template <int N>
inline void add_up(const float* rows, float* sums, long pixels) {
    for (long p = 0; p < pixels; p++)
        for (int n = 0; n < N; n += LANES)
            store(sums + n, load(sums + n) + load(rows + p * N + n));
}

// A picture inside a border of zeros as wide as the kernel reaches.
struct Padded {
    long width;
    std::vector<float> values;

    Padded(long height, long inner)
        : width(inner + 2 * BORDER), values((height + 2 * BORDER) * width * WIDTH) {}

    void fill(const float* picture, long height) {
        const long inner = width - 2 * BORDER;
        for (long y = 0; y < height; y++)
            std::memcpy(&values[((y + BORDER) * width + BORDER) * WIDTH],
                        picture + y * inner * WIDTH, sizeof(float) * inner * WIDTH);
    }

    const float* row(long y) const { return &values[y * width * WIDTH]; }
};

template <int R>
inline void depthwise_block(const float* from, long stride, const float* taps, const float* bias,
                            const float* add, float* out) {
    for (int c = 0; c < WIDTH; c += LANES) {
        Vector sum[R];
        for (int r = 0; r < R; r++) {
            sum[r] = bias ? load(bias + c) : Vector{};
            if (add) sum[r] += load(add + r * WIDTH + c);
        }
        for (int y = 0; y < KERNEL; y++) {
            Vector tap[KERNEL];
            for (int x = 0; x < KERNEL; x++) tap[x] = load(taps + (y * KERNEL + x) * WIDTH + c);
#pragma GCC unroll 32
            for (int q = 0; q < R + KERNEL - 1; q++) {
                const Vector value = load(from + (y * stride + q) * WIDTH + c);
#pragma GCC unroll 16
                for (int x = 0; x < KERNEL; x++)
                    if (q - x >= 0 && q - x < R) sum[q - x] += value * tap[x];
            }
        }
        for (int r = 0; r < R; r++) store(out + r * WIDTH + c, sum[r]);
    }
}

// A row of a depthwise convolution; the first of the padded rows that it sees is ``from``.
inline void depthwise(const float* from, const float* taps, const float* bias, const float* add,
                      float* out, long width) {
    const long stride = width + 2 * BORDER;
    long x = 0;
    for (; x + NEIGHBOURS <= width; x += NEIGHBOURS)
        depthwise_block<NEIGHBOURS>(from + x * WIDTH, stride, taps, bias,
                                    add ? add + x * WIDTH : nullptr, out + x * WIDTH);
    for (; x < width; x++)
        depthwise_block<1>(from + x * WIDTH, stride, taps, bias, add ? add + x * WIDTH : nullptr,
                           out + x * WIDTH);
}

// sums (TAPS, WIDTH) += what a row of gradients asks of the taps
inline void depthwise_taps(const float* from, const float* gradient, float* sums, long width) {
    const long stride = width + 2 * BORDER;
    for (int y = 0; y < KERNEL; y++)
        for (int c = 0; c < WIDTH; c += LANES) {
            Vector sum[KERNEL];
            for (int x = 0; x < KERNEL; x++) sum[x] = load(sums + (y * KERNEL + x) * WIDTH + c);
            for (long p = 0; p < width; p++) {
                const Vector g = load(gradient + p * WIDTH + c);
                for (int x = 0; x < KERNEL; x++)
                    sum[x] += g * load(from + (y * stride + p + x) * WIDTH + c);
            }
            for (int x = 0; x < KERNEL; x++) store(sums + (y * KERNEL + x) * WIDTH + c, sum[x]);
        }
}

}  // namespace

extern "C" {

// x, y and look: (images, height, width, WIDTH); taps: (TAPS, WIDTH); widen: (WIDTH, HIDDEN);
// narrow: (HIDDEN, WIDTH)
void unit_forward(const float* x, const float* taps, const float* look_bias, const float* widen,
                  const float* widen_bias, const float* narrow, const float* narrow_bias, float* y,
                  float* look, long images, long height, long width) {
    const long row = width * WIDTH;
    Padded around(height, width);
    std::vector<float> hidden(width * HIDDEN);
    for (long image = 0; image < images; image++) {
        around.fill(x + image * height * row, height);
        for (long line = 0; line < height; line++) {
            const long at = (image * height + line) * row;
            depthwise(around.row(line), taps, look_bias, nullptr, look + at, width);
            product<WIDTH, HIDDEN>(look + at, widen, widen_bias, hidden.data(), width, Positive{});
            product<HIDDEN, WIDTH>(hidden.data(), narrow, narrow_bias, y + at, width, Plus{x + at});
        }
    }
}

// gradient: of y; of x it is written, of the weights it is added. widen, turned: (HIDDEN, WIDTH);
// narrow, turned: (WIDTH, HIDDEN); taps: in reverse order. Sums have the shapes of the turned ones.
void unit_backward(const float* gradient, const float* x, const float* look, const float* taps,
                   const float* widen, const float* widen_bias, const float* widen_turned,
                   const float* narrow_turned, float* of_x, float* of_taps, float* of_look_bias,
                   float* of_widen, float* of_widen_bias, float* of_narrow, float* of_narrow_bias,
                   long images, long height, long width) {
    const long row = width * WIDTH;
    Padded around(height, width), of_look_around(height, width);
    std::vector<float> hidden(width * HIDDEN), of_hidden(width * HIDDEN), of_look(height * row);
    for (long image = 0; image < images; image++) {
        const long first = image * height * row;
        for (long line = 0; line < height; line++) {
            const long at = first + line * row;
            float* of_line = of_look.data() + line * row;
            product<WIDTH, HIDDEN>(look + at, widen, widen_bias, hidden.data(), width, Positive{});
            product<WIDTH, HIDDEN>(gradient + at, narrow_turned, nullptr, of_hidden.data(), width,
                                   WherePositive{hidden.data()});
            product<HIDDEN, WIDTH>(of_hidden.data(), widen_turned, nullptr, of_line, width,
                                   Plain{});
            outer<WIDTH, HIDDEN>(gradient + at, hidden.data(), of_narrow, width);
            outer<HIDDEN, WIDTH>(of_hidden.data(), look + at, of_widen, width);
            add_up<WIDTH>(gradient + at, of_narrow_bias, width);
            add_up<HIDDEN>(of_hidden.data(), of_widen_bias, width);
            add_up<WIDTH>(of_line, of_look_bias, width);
        }
        around.fill(x + first, height);
        of_look_around.fill(of_look.data(), height);
        for (long line = 0; line < height; line++) {
            const long at = first + line * row;
            depthwise_taps(around.row(line), of_look.data() + line * row, of_taps, width);
            depthwise(of_look_around.row(line), taps, nullptr, gradient + at, of_x + at, width);
        }
    }
}
}
