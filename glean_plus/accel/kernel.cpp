// 3x3 convolutions with stride 1 by Winograd's algorithm (Winograd 1980; Lavin and Gray, CVPR 2016): transforms, matrix
// products and what follows the convolution in one pass over a few tiles at a time, which stay in cache.
//
// Built and called by compiled.py, whose `Task` and `Thin` mirror the structs here. Maps are [image, row, column,
// channel], the channels next to each other, with a border of one pixel where they are read. Strides count elements.

#include <algorithm>
#include <cstdint>
#include <cstring>
#if defined(__AVX512BF16__) && defined(__AVX512F__)
#include <immintrin.h>
#define BF16_DOT 1
#else
#define BF16_DOT 0
#endif

extern "C" int omp_get_thread_num();

namespace {

typedef uint16_t bf16;

template <int L> struct Lanes {
    typedef float f32 __attribute__((vector_size(L * 4), aligned(4), may_alias));
    typedef uint32_t u32 __attribute__((vector_size(L * 4), aligned(4), may_alias));
    typedef uint16_t u16 __attribute__((vector_size(L * 2), aligned(2), may_alias));
};
template <int L> using vec = typename Lanes<L>::f32;
template <int L> using uvec = typename Lanes<L>::u32;

template <int L> inline vec<L> load(const float *p) { return *reinterpret_cast<const vec<L> *>(p); }
template <int L> inline vec<L> load(const bf16 *p) {
    typedef typename Lanes<L>::u16 half;
    uvec<L> bits = __builtin_convertvector(*reinterpret_cast<const half *>(p), uvec<L>) << 16;
    return (vec<L>)bits;
}

// To the nearest, halves to even; what is rounded is in the upper 16 bits.
template <int L> inline uvec<L> rounded(vec<L> v) {
    uvec<L> bits = (uvec<L>)v;
    return bits + 0x7fff + ((bits >> 16) & 1);
}

template <int L> inline void store(float *p, vec<L> v) { *reinterpret_cast<vec<L> *>(p) = v; }
template <int L> inline void store(bf16 *p, vec<L> v) {
    typedef typename Lanes<L>::u16 half;
    *reinterpret_cast<half *>(p) = __builtin_convertvector(rounded<L>(v) >> 16, half);
}
#if BF16_DOT
template <> inline void store<16>(bf16 *p, vec<16> v) {
    __m256bh half = _mm512_cvtneps_pbh((__m512)v);
    std::memcpy(p, &half, sizeof half);
}
#endif

// Along one axis: M results from M + 2 products. The points, to which filter_matrix() of compiled.py belongs, are 0, 1, -1,
// 1/2, -1/2, infinity for M = 4, and 0, 1, -1, infinity for M = 2.
template <int M> struct Axis;

template <> struct Axis<4> {
    template <class V> static inline void input(const V *d, V *out) {
        V even = d[4] - d[2] * 0.25f, odd = d[3] - d[1] * 0.25f;
        out[1] = even + odd;
        out[2] = even - odd;
        even = d[4] - d[2], odd = d[3] - d[1];
        out[3] = even + odd * 0.5f;
        out[4] = even - odd * 0.5f;
        out[0] = even + (d[0] - d[2]) * 0.25f;
        out[5] = (d[5] - d[3]) - odd * 0.25f;
    }
    template <class V> static inline void output(const V *m, V *out) {
        V even = m[1] + m[2], odd = m[1] - m[2], even_p = m[3] + m[4], odd_p = m[3] - m[4];
        out[0] = m[0] + even + even_p;
        out[1] = odd + odd_p * 0.5f;
        out[2] = even + even_p * 0.25f;
        out[3] = m[5] + odd + odd_p * 0.125f;
    }
    // The adjoint of output: gradients of four results -> of six products.
    template <class V> static inline void gradient(const V *y, V *out) {
        V even = y[0] + y[2], odd = y[1] + y[3], even_p = y[0] + y[2] * 0.25f, odd_p = y[1] * 0.5f + y[3] * 0.125f;
        out[0] = y[0];
        out[1] = even + odd;
        out[2] = even - odd;
        out[3] = even_p + odd_p;
        out[4] = even_p - odd_p;
        out[5] = y[3];
    }
};

template <> struct Axis<2> {
    template <class V> static inline void input(const V *d, V *out) {
        out[0] = d[0] - d[2];
        out[1] = d[2] + d[1];
        out[2] = d[2] - d[1];
        out[3] = d[3] - d[1];
    }
    template <class V> static inline void output(const V *m, V *out) {
        out[0] = m[0] + m[1] + m[2];
        out[1] = m[3] + m[1] - m[2];
    }
};

}  // namespace

extern "C" {

struct Task {
    int64_t images, height, width, in_channels, out_channels;  // of the convolution, before a pixel shuffle
    int64_t maps, products;                                    // 0: float32, 1: bfloat16
    int64_t rows, columns;                                     // of a tile's results: 4, and 4 or, in bfloat16, 2
    int64_t shuffle;                                           // 1: channels are (row, column, channel)
    int64_t phases;                                            // 1: these share a weight, each with matrices of its own
    int64_t threads, tiles;                                    // tiles at a time
    int64_t part, group;                                       // results at a time; filters at a time, whole parts
    const void *x;
    int64_t x_image, x_row, x_pixel;
    const float *in_scale;                                     // [images or 1, in_channels], or null
    int64_t in_scale_image;
    void *y;
    int64_t y_image, y_row, y_pixel;
    const float *weight;                                       // [3, 3, in_channels, out_channels or a phase's]
    const float *filter_rows, *filter_columns;                 // [phases, rows + 2, 3] and [phases, columns + 2, 3]
    const float *bias;                                         // [out_channels], as all that follow
    const float *out_scale;                                    // [images or 1, out_channels], or null
    int64_t out_scale_image;
    const float *noise;                                        // a map of one channel as large as y, or null
    int64_t noise_row;
    float slope;                                               // of the leaky ReLU; 1 for none
    const float *then;                                         // as out_scale, multiplied last, or null
    int64_t then_image;
    const void *residual[2];                                   // added to the result, or null
    int64_t residual_image[2], residual_row[2], residual_pixel[2];
    float residual_scale[2];
    void *filters;                                             // memory for the transformed filters
    void *scratch;                                             // memory of each thread
    int64_t scratch_size;                                      // bytes of one thread's
};

}  // extern "C"

namespace {

// From one product's plane to the next: a multiple of 4096 bytes would put all planes into the same lines of the cache.
inline int64_t plane(int64_t tiles, int64_t channels) { return tiles * channels + 32; }

// Vectors of results in one product, and tiles: as many sums as fit into the registers.
inline int vectors(int64_t channels, int lanes) {
    return channels % (4 * lanes) == 0 ? 4 : channels % (2 * lanes) == 0 ? 2 : 1;
}

template <int L, int M> inline void filter_axis(const float *g, const vec<L> *taps, vec<L> *out) {
    for (int i = 0; i < M + 2; i++)
        out[i] = taps[0] * g[i * 3] + taps[1] * g[i * 3 + 1] + taps[2] * g[i * 3 + 2];
}

template <int L, int R, int C>
inline void filter_tile(const Task &t, int64_t channel, int64_t out, vec<L> *result) {
    const int64_t depth = t.phases ? t.out_channels / 4 : t.out_channels;
    const float *rows = t.filter_rows + out / depth / 2 * (R + 2) * 3;
    const float *columns = t.filter_columns + out / depth % 2 * (C + 2) * 3;
    vec<L> half[3][R + 2];
    for (int s = 0; s < 3; s++) {
        vec<L> taps[3];
        for (int r = 0; r < 3; r++)
            taps[r] = load<L>(t.weight + ((r * 3 + s) * t.in_channels + channel) * depth + out % depth);
        filter_axis<L, R>(rows, taps, half[s]);
    }
    for (int i = 0; i < R + 2; i++) {
        vec<L> taps[3] = {half[0][i], half[1][i], half[2][i]};
        filter_axis<L, C>(columns, taps, result + i * (C + 2));
    }
}

// Filters of one panel of a group's results, [product, panel, channel, panel's results]; pairs of channels in bfloat16.
template <int L, int R, int C>
void transform_filters(const Task &t, int64_t group, int64_t panel, int width, int64_t from, int64_t to) {
    const int F = (R + 2) * (C + 2);
    const int64_t size = t.in_channels * t.group;
    vec<L> first[F], second[F];
    for (int64_t c = from; c < to; c += t.products ? 2 : 1)
        for (int v = 0; v < width; v++) {
            int64_t out = group + (panel * width + v) * L;
            filter_tile<L, R, C>(t, c, out, first);
            if (!t.products) {
                float *target = static_cast<float *>(t.filters) + (panel * t.in_channels + c) * width * L + v * L;
                for (int f = 0; f < F; f++) store<L>(target + f * size, first[f]);
                continue;
            }
            filter_tile<L, R, C>(t, c + 1, out, second);
            uint32_t *target = static_cast<uint32_t *>(t.filters) + (panel * t.in_channels + c) / 2 * width * L + v * L;
            for (int f = 0; f < F; f++)
                *reinterpret_cast<uvec<L> *>(target + f * size / 2) =
                    (rounded<L>(first[f]) >> 16) | (rounded<L>(second[f]) & 0xffff0000u);
        }
}

struct Place {
    int64_t image, row, column;
};

inline Place place(const Task &t, int64_t tile) {
    int64_t across = t.width / t.columns, down = t.height / t.rows;
    return {tile / (across * down), tile / across % down * t.rows, tile % across * t.columns};
}

// The maps are larger than the caches: what a tile reads or writes is asked for while the one before it is worked on.
template <int L, int R, int C, class Map, class Product>
void transform_tile(const Task &t, Place at, Place next, Product *out, int64_t step) {
    const Map *ahead = static_cast<const Map *>(t.x) + next.image * t.x_image + next.row * t.x_row +
                       next.column * t.x_pixel;
    const Map *x = static_cast<const Map *>(t.x) + at.image * t.x_image + at.row * t.x_row + at.column * t.x_pixel;
    const float *scale = t.in_scale ? t.in_scale + at.image * t.in_scale_image : nullptr;
    for (int64_t c = 0; c < t.in_channels; c += L) {
        vec<L> half[R + 2][C + 2], d[8], r[8];
        for (int j = 0; j < C + 2; j++) {
            if (j >= 2 && c * sizeof(Map) % 64 == 0)
                for (int i = 0; i < R + 2; i++) __builtin_prefetch(ahead + i * t.x_row + j * t.x_pixel + c);
            for (int i = 0; i < R + 2; i++) d[i] = load<L>(x + i * t.x_row + j * t.x_pixel + c);
            Axis<R>::input(d, r);
            for (int i = 0; i < R + 2; i++) half[i][j] = r[i];
        }
        for (int i = 0; i < R + 2; i++) {
            Axis<C>::input(half[i], r);
            if (scale) {
                vec<L> s = load<L>(scale + c);
                for (int j = 0; j < C + 2; j++) r[j] *= s;
            }
            for (int j = 0; j < C + 2; j++) store<L>(out + (i * (C + 2) + j) * step + c, r[j]);
        }
    }
}

template <int L, int N, int M>
void multiply(const float *tiles, int64_t channels, const float *filters, float *out, int64_t step) {
    vec<L> sum[M][N] = {};
    for (int64_t c = 0; c < channels; c++) {
        vec<L> f[N];
        for (int n = 0; n < N; n++) f[n] = load<L>(filters + (c * N + n) * L);
#pragma GCC unroll 12
        for (int m = 0; m < M; m++) {
            float x = tiles[m * channels + c];
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) sum[m][n] += f[n] * x;
        }
    }
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) store<L>(out + m * step + n * L, sum[m][n]);
}

#if BF16_DOT
template <int L, int N, int M>
void multiply(const bf16 *tiles, int64_t channels, const bf16 *filters, float *out, int64_t step) {
    static_assert(L == 16, "products in bfloat16 are of 16 lanes");
    __m512 sum[M][N] = {};
    for (int64_t c = 0; c < channels; c += 2) {
        __m512bh f[N];
        for (int n = 0; n < N; n++) std::memcpy(&f[n], filters + (c * N + n * 2) * L, sizeof f[n]);
#pragma GCC unroll 12
        for (int m = 0; m < M; m++) {
            int32_t pair;
            std::memcpy(&pair, tiles + m * channels + c, sizeof pair);
            __m512i x = _mm512_set1_epi32(pair);
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) sum[m][n] = _mm512_dpbf16_ps(sum[m][n], f[n], (__m512bh)x);
        }
    }
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) _mm512_storeu_ps(out + m * step + n * L, sum[m][n]);
}
#endif

// Results ``from`` to ``to`` of a group, [product, tile, result].
template <int L, int N, class Product>
void multiply_all(const Task &t, const Product *tiles, float *out, int products, int64_t from, int64_t to) {
    const int M = N == 4 ? 6 : 12;
    for (int f = 0; f < products; f++)
        for (int64_t k = from; k < to; k += N * L) {
            const Product *filters = static_cast<const Product *>(t.filters) + (f * t.group + k) * t.in_channels;
            for (int64_t m = 0; m < t.tiles; m += M)
                multiply<L, N, M>(tiles + f * plane(t.tiles, t.in_channels) + m * t.in_channels, t.in_channels, filters,
                                  out + f * plane(t.tiles, t.part) + m * t.part + k - from, t.part);
        }
}

// Where a vector of channels of a tile's results goes, which a pixel shuffle sends to every second pixel.
template <class Map> struct Target {
    Map *y;
    int64_t row, pixel;                   // strides from one of the tile's results to the next
    const float *noise;
    int64_t noise_row, noise_pixel;
    const Map *residual[2];
    int64_t residual_row[2], residual_pixel[2];

    Target(const Task &t, Place at, int64_t k) {
        const int64_t depth = t.shuffle ? t.out_channels / 4 : t.out_channels, step = t.shuffle ? 2 : 1;
        const int64_t i = at.row * step + k / depth / 2, j = at.column * step + k / depth % 2, channel = k % depth;
        y = static_cast<Map *>(t.y) + at.image * t.y_image + i * t.y_row + j * t.y_pixel + channel;
        row = step * t.y_row, pixel = step * t.y_pixel;
        noise = t.noise ? t.noise + i * t.noise_row + j : nullptr;
        noise_row = step * t.noise_row, noise_pixel = step;
        for (int n = 0; n < 2; n++) {
            residual[n] = t.residual[n] ? static_cast<const Map *>(t.residual[n]) + at.image * t.residual_image[n] +
                                              i * t.residual_row[n] + j * t.residual_pixel[n] + channel
                                        : nullptr;
            residual_row[n] = step * t.residual_row[n], residual_pixel[n] = step * t.residual_pixel[n];
        }
    }
};

// L channels of a tile's results, from its products: inverse transform, then what follows the convolution.
template <int L, int R, int C, class Map>
inline void transform_vector(const Task &t, Place at, Place next, const float *m, int64_t step, int64_t k) {
    vec<L> half[R][C + 2], d[8], r[8];
    for (int j = 0; j < C + 2; j++) {
        for (int i = 0; i < R + 2; i++) d[i] = load<L>(m + (i * (C + 2) + j) * step);
        Axis<R>::output(d, r);
        for (int i = 0; i < R; i++) half[i][j] = r[i];
    }
    const Target<Map> target(t, at, k), ahead(t, next, k);
    const vec<L> one = vec<L>{} + 1, bias = load<L>(t.bias + k);
    const vec<L> scale = t.out_scale ? load<L>(t.out_scale + at.image * t.out_scale_image + k) : one;
    const vec<L> then = t.then ? load<L>(t.then + at.image * t.then_image + k) : one;
    for (int i = 0; i < R; i++) {
        Axis<C>::output(half[i], r);
        for (int j = 0; j < C; j++) {
            __builtin_prefetch(ahead.y + i * ahead.row + j * ahead.pixel, 1);
            vec<L> v = r[j] * scale + bias;
            if (target.noise) v += target.noise[i * target.noise_row + j * target.noise_pixel];
            v = v > 0 ? v : v * t.slope;
            if (t.then) v *= then;
            for (int n = 0; n < 2; n++)
                if (target.residual[n])
                    v += t.residual_scale[n] *
                         load<L>(target.residual[n] + i * target.residual_row[n] + j * target.residual_pixel[n]);
            store<L>(target.y + i * target.row + j * target.pixel, v);
        }
    }
}

template <int L, int R, int C, class Map>
void transform_result(const Task &t, Place at, Place next, const float *m, int64_t step, int64_t from, int64_t to) {
    // After a pixel shuffle, a pixel may have fewer channels than a vector.
    const int64_t depth = t.shuffle ? t.out_channels / 4 : t.out_channels;
    const int lanes = depth % L == 0 ? L : depth % 8 == 0 ? 8 : 4;
    for (int64_t k = from; k < to; k += lanes, m += lanes) {
        if (lanes == L) transform_vector<L, R, C, Map>(t, at, next, m, step, k);
        else if (lanes == 8) transform_vector<8, R, C, Map>(t, at, next, m, step, k);
        else transform_vector<4, R, C, Map>(t, at, next, m, step, k);
    }
}

template <int L, int R, int C, class Map, class Product> void convolve(const Task &t) {
    const int F = (R + 2) * (C + 2), width = vectors(t.out_channels, L);
    const int64_t tiles = t.images * (t.height / R) * (t.width / C), blocks = (tiles + t.tiles - 1) / t.tiles;
    const int64_t chunk = 32, chunks = (t.in_channels + chunk - 1) / chunk;
    for (int64_t group = 0; group < t.out_channels; group += t.group) {
        const int64_t results = std::min(t.group, t.out_channels - group), panels = results / (width * L);
#pragma omp parallel num_threads(t.threads)
        {
#pragma omp for schedule(static)
            for (int64_t n = 0; n < panels * chunks; n++) {
                int64_t from = n % chunks * chunk;
                transform_filters<L, R, C>(t, group, n / chunks, width, from, std::min(from + chunk, t.in_channels));
            }
            char *scratch = static_cast<char *>(t.scratch) + omp_get_thread_num() * t.scratch_size;
            const int64_t step_in = plane(t.tiles, t.in_channels), step_out = plane(t.tiles, t.part);
            Product *inputs = reinterpret_cast<Product *>(scratch);
            float *sums = reinterpret_cast<float *>(scratch + F * step_in * int64_t(sizeof(Product)));
#pragma omp for schedule(dynamic)
            for (int64_t block = 0; block < blocks; block++) {
                const int64_t first = block * t.tiles, count = std::min(t.tiles, tiles - first);
                auto tile = [&](int64_t n) { return place(t, std::min(first + n, tiles - 1)); };
                for (int64_t n = 0; n < count; n++)
                    transform_tile<L, R, C, Map>(t, tile(n), tile(n + 1), inputs + n * t.in_channels, step_in);
                for (int64_t n = count; n < t.tiles; n++)  // the last block may be short
                    for (int f = 0; f < F; f++)
                        std::memset(inputs + f * step_in + n * t.in_channels, 0, t.in_channels * sizeof(Product));
                for (int64_t from = 0; from < results; from += t.part) {
                    const int64_t to = std::min(from + t.part, results);
                    switch (width) {
                        case 4: multiply_all<L, 4>(t, inputs, sums, F, from, to); break;
                        case 2: multiply_all<L, 2>(t, inputs, sums, F, from, to); break;
                        default: multiply_all<L, 1>(t, inputs, sums, F, from, to);
                    }
                    for (int64_t n = 0; n < count; n++)
                        transform_result<L, R, C, Map>(t, tile(n), tile(n + 1), sums + n * t.part, step_out,
                                                       group + from, group + to);
                }
            }
        }
    }
}

}  // namespace

extern "C" {

// 1 if products of bfloat16 pairs are in this machine's instructions.
int has_bfloat16() { return BF16_DOT; }

// The widest vector of the machine that these numbers are multiples of; 0 if there is none.
int lanes(int64_t in_channels, int64_t out_channels) {
#if defined(__AVX512F__)
    const int widest = 16;
#elif defined(__AVX__)
    const int widest = 8;
#else
    const int widest = 4;
#endif
    for (int n = widest; n >= 4; n /= 2)
        if (in_channels % n == 0 && out_channels % n == 0) return n;
    return 0;
}

// 0, or 1 for a task that there is no code for.
int convolve_3x3(const Task *task) {
    const Task &t = *task;
    const int n = lanes(t.in_channels, t.phases ? t.out_channels / 4 : t.out_channels);
#if BF16_DOT
    if (t.products && t.maps && n == 16 && t.columns == 4) return convolve<16, 4, 4, bf16, bf16>(t), 0;
    if (t.products && t.maps && n == 16 && t.columns == 2) return convolve<16, 4, 2, bf16, bf16>(t), 0;
#endif
    if (t.products || t.columns != 4) return 1;
#if defined(__AVX512F__)
    if (n == 16) return t.maps ? convolve<16, 4, 4, bf16, float>(t) : convolve<16, 4, 4, float, float>(t), 0;
#endif
#if defined(__AVX__)
    if (n == 8) return t.maps ? convolve<8, 4, 4, bf16, float>(t) : convolve<8, 4, 4, float, float>(t), 0;
#endif
    if (n == 4) return t.maps ? convolve<4, 4, 4, bf16, float>(t) : convolve<4, 4, 4, float, float>(t), 0;
    return 1;
}

struct Thin {
    int64_t height, width, in_channels, out_channels, maps, threads;
    const void *x;                   // with border
    int64_t x_row, x_pixel;
    const float *weight;             // [3, 3, out_channels, in_channels]
    const float *bias;               // [out_channels]
    float *y;                        // planes
    int64_t y_plane, y_row;
};

}  // extern "C"

namespace {

template <int L, int K, int P, class Map> inline void thin_pixels(const Thin &t, const Map *x, float *y) {
    vec<L> sum[K][P] = {};
    for (int r = 0; r < 3; r++)
        for (int s = 0; s < 3; s++) {
            const float *weight = t.weight + (r * 3 + s) * K * t.in_channels;
            const Map *from = x + r * t.x_row + s * t.x_pixel;
            for (int64_t c = 0; c < t.in_channels; c += L) {
                vec<L> w[K];
                for (int k = 0; k < K; k++) w[k] = load<L>(weight + k * t.in_channels + c);
#pragma GCC unroll 4
                for (int p = 0; p < P; p++) {
                    vec<L> v = load<L>(from + p * t.x_pixel + c);
#pragma GCC unroll 4
                    for (int k = 0; k < K; k++) sum[k][p] += v * w[k];
                }
            }
        }
    for (int k = 0; k < K; k++)
        for (int p = 0; p < P; p++) {
            float all = t.bias[k];
            for (int n = 0; n < L; n++) all += sum[k][p][n];
            y[k * t.y_plane + p] = all;
        }
}

template <int L, int K, class Map> void thin(const Thin &t) {
#pragma omp parallel for schedule(dynamic, 4) num_threads(t.threads)
    for (int64_t row = 0; row < t.height; row++) {
        const Map *x = static_cast<const Map *>(t.x) + row * t.x_row;
        float *y = t.y + row * t.y_row;
        int64_t column = 0;
        for (; column + 4 <= t.width; column += 4) thin_pixels<L, K, 4>(t, x + column * t.x_pixel, y + column);
        for (; column < t.width; column++) thin_pixels<L, K, 1>(t, x + column * t.x_pixel, y + column);
    }
}

template <int L, class Map> bool thin(const Thin &t) {
    switch (t.out_channels) {
        case 1: thin<L, 1, Map>(t); return true;
        case 2: thin<L, 2, Map>(t); return true;
        case 3: thin<L, 3, Map>(t); return true;
        case 4: thin<L, 4, Map>(t); return true;
        default: return false;
    }
}

}  // namespace

extern "C" int convolve_thin(const Thin *task) {
    const Thin &t = *task;
    const int n = lanes(t.in_channels, t.in_channels);
    bool known = false;
#if defined(__AVX512F__)
    if (n == 16) known = t.maps ? thin<16, bf16>(t) : thin<16, float>(t);
#endif
#if defined(__AVX__)
    if (n == 8) known = t.maps ? thin<8, bf16>(t) : thin<8, float>(t);
#endif
    if (n == 4) known = t.maps ? thin<4, bf16>(t) : thin<4, float>(t);
    return !known;
}

// The gradient of a convolution's weights: [splits, 3, 3, in_channels, out_channels].
struct WeightTask {
    int64_t images, height, width, in_channels, out_channels;
    int64_t threads, tiles;              // tiles at a time
    int64_t in_part, out_part, splits;   // channels, and shares of the tiles, of one piece of work
    const float *x;                      // with border
    int64_t x_image, x_row, x_pixel;
    const float *y;                      // gradient of the result
    int64_t y_image, y_row, y_pixel;
    const float *filter;                 // [6, 3]
    float *out;
    void *scratch;                       // memory of each thread
    int64_t scratch_size;
};

namespace {

const int PRODUCTS = 36;

// Tiles of x, or of the result's gradient, [product, tile, channel].
template <int L, bool GRADIENT>
void transform_part(const float *x, int64_t row, int64_t pixel, int64_t channels, float *out, int64_t step) {
    const int N = GRADIENT ? 4 : 6;
    for (int64_t c = 0; c < channels; c += L) {
        vec<L> half[6][N], d[6], r[6];
        for (int j = 0; j < N; j++) {
            for (int i = 0; i < N; i++) d[i] = load<L>(x + i * row + j * pixel + c);
            if (GRADIENT) Axis<4>::gradient(d, r);
            else Axis<4>::input(d, r);
            for (int i = 0; i < 6; i++) half[i][j] = r[i];
        }
        for (int i = 0; i < 6; i++) {
            if (GRADIENT) Axis<4>::gradient(half[i], r);
            else Axis<4>::input(half[i], r);
            for (int j = 0; j < 6; j++) store<L>(out + (i * 6 + j) * step + c, r[j]);
        }
    }
}

// Four channels of x times N vectors of channels of the gradient, summed over tiles.
template <int L, int N>
void accumulate(const float *x, int64_t in_step, const float *y, int64_t out_step, int64_t tiles, float *out,
                int64_t row) {
    vec<L> sum[4][N];
    for (int m = 0; m < 4; m++)
        for (int n = 0; n < N; n++) sum[m][n] = load<L>(out + m * row + n * L);
    for (int64_t t = 0; t < tiles; t++) {
        vec<L> f[N];
        for (int n = 0; n < N; n++) f[n] = load<L>(y + t * out_step + n * L);
#pragma GCC unroll 4
        for (int m = 0; m < 4; m++)
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) sum[m][n] += f[n] * x[t * in_step + m];
    }
    for (int m = 0; m < 4; m++)
        for (int n = 0; n < N; n++) store<L>(out + m * row + n * L, sum[m][n]);
}

template <int L, int N> void accumulate_all(const WeightTask &t, const float *x, const float *y, float *out) {
    const int64_t in_step = plane(t.tiles, t.in_part), out_step = plane(t.tiles, t.out_part);
    for (int f = 0; f < PRODUCTS; f++)
        for (int64_t c = 0; c < t.in_part; c += 4)
            for (int64_t k = 0; k < t.out_part; k += N * L)
                accumulate<L, N>(x + f * in_step + c, t.in_part, y + f * out_step + k, t.out_part, t.tiles,
                                 out + (f * t.in_part + c) * t.out_part + k, t.out_part);
}

// The adjoint of the filters' transform: 36 products -> nine taps.
template <int L> void untransform_filter(const float *filter, const float *m, int64_t step, float *out, int64_t tap) {
    vec<L> half[3][6] = {};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) {
            const vec<L> v = load<L>(m + (i * 6 + j) * step);
            for (int r = 0; r < 3; r++) half[r][j] += v * filter[i * 3 + r];
        }
    for (int r = 0; r < 3; r++)
        for (int s = 0; s < 3; s++) {
            vec<L> v = {};
            for (int j = 0; j < 6; j++) v += half[r][j] * filter[j * 3 + s];
            store<L>(out + (r * 3 + s) * tap, v);
        }
}

template <int L> void weight_gradient(const WeightTask &t) {
    const int64_t across = t.width / 4, down = t.height / 4, tiles = t.images * across * down;
    const int64_t ins = t.in_channels / t.in_part, outs = t.out_channels / t.out_part;
    const int64_t share = (tiles + t.splits - 1) / t.splits;
    const int64_t in_step = plane(t.tiles, t.in_part), out_step = plane(t.tiles, t.out_part);
#pragma omp parallel for schedule(dynamic) num_threads(t.threads)
    for (int64_t piece = 0; piece < t.splits * ins * outs; piece++) {
        const int64_t split = piece / (ins * outs), in = piece / outs % ins * t.in_part, out = piece % outs * t.out_part;
        float *x = reinterpret_cast<float *>(static_cast<char *>(t.scratch) + omp_get_thread_num() * t.scratch_size);
        float *y = x + PRODUCTS * in_step, *sums = y + PRODUCTS * out_step;
        std::memset(sums, 0, PRODUCTS * t.in_part * t.out_part * sizeof(float));
        const int64_t end = std::min((split + 1) * share, tiles);
        for (int64_t first = split * share; first < end; first += t.tiles) {
            const int64_t count = std::min(t.tiles, end - first);
            for (int64_t n = 0; n < count; n++) {
                const int64_t image = (first + n) / (across * down), row = (first + n) / across % down * 4,
                              column = (first + n) % across * 4;
                transform_part<L, false>(t.x + image * t.x_image + row * t.x_row + column * t.x_pixel + in, t.x_row,
                                         t.x_pixel, t.in_part, x + n * t.in_part, in_step);
                transform_part<L, true>(t.y + image * t.y_image + row * t.y_row + column * t.y_pixel + out, t.y_row,
                                        t.y_pixel, t.out_part, y + n * t.out_part, out_step);
            }
            for (int64_t n = count; n < t.tiles; n++)
                for (int f = 0; f < PRODUCTS; f++) {
                    std::memset(x + f * in_step + n * t.in_part, 0, t.in_part * sizeof(float));
                    std::memset(y + f * out_step + n * t.out_part, 0, t.out_part * sizeof(float));
                }
            switch (vectors(t.out_part, L)) {
                case 4: accumulate_all<L, 4>(t, x, y, sums); break;
                case 2: accumulate_all<L, 2>(t, x, y, sums); break;
                default: accumulate_all<L, 1>(t, x, y, sums);
            }
        }
        for (int64_t c = 0; c < t.in_part; c++)
            for (int64_t k = 0; k < t.out_part; k += L)
                untransform_filter<L>(t.filter, sums + c * t.out_part + k, t.in_part * t.out_part,
                                      t.out + (split * 9 * t.in_channels + in + c) * t.out_channels + out + k,
                                      t.in_channels * t.out_channels);
    }
}

}  // namespace

extern "C" int convolve_weight_gradient(const WeightTask *task) {
    const WeightTask &t = *task;
    const int n = lanes(t.in_part, t.out_part);
    if (n == 0 || t.in_channels % t.in_part || t.out_channels % t.out_part) return 1;
#if defined(__AVX512F__)
    if (n == 16) return weight_gradient<16>(t), 0;
#endif
#if defined(__AVX__)
    if (n == 8) return weight_gradient<8>(t), 0;
#endif
    return weight_gradient<4>(t), 0;
}
