// Class-aware greedy non-maximum suppression, identical to edgedet/nms.py: ordered by score, equal scores by index;
// a box goes when its IoU with a better kept box of its own class is above the threshold. Arithmetic is float32 in
// the same order of operations; compile without contraction into fused multiply-adds.
//
// Candidates are selected (in any order, by an atomic counter), ranked by counting how many come before (their keys
// are unique, so the order is the same on every machine), and suppressed chunk by chunk: first against what is kept,
// then among themselves by a bit matrix. Memory stays small and the work ends when enough are kept.
#include "host.h"

#define CHUNK 4096
#define WORDS (CHUNK / 64)

struct Box { float x1, y1, x2, y2; };

__device__ __forceinline__ bool finite(float value) {
    return (__float_as_int(value) & 0x7f800000) != 0x7f800000;
}

// Ascending unsigned keys are descending scores, then ascending indices.
__device__ __forceinline__ mask_t order_key(float score, int index) {
    int bits = __float_as_int(score == 0.0f ? 0.0f : score);
    unsigned ascending = bits < 0 ? ~(unsigned)bits : (unsigned)bits | 0x80000000u;
    return ((mask_t)(~ascending) << 32) | (unsigned)index;
}

__device__ __forceinline__ float positive(float value) { return value > 0.0f ? value : 0.0f; }

__device__ __forceinline__ bool overlap(const Box &a, const Box &b, float threshold) {
    float area_a = (a.x2 - a.x1) * (a.y2 - a.y1);
    float area_b = (b.x2 - b.x1) * (b.y2 - b.y1);
    float width = (a.x2 < b.x2 ? a.x2 : b.x2) - (a.x1 > b.x1 ? a.x1 : b.x1);
    float height = (a.y2 < b.y2 ? a.y2 : b.y2) - (a.y1 > b.y1 ? a.y1 : b.y1);
    float shared = positive(width) * positive(height);
    return shared / (area_a + area_b - shared) > threshold;
}

// The frameworks' trick of moving boxes of different classes apart, whose rounding decides ties (class_step, 0: none).
__device__ __forceinline__ Box moved(Box box, int label, float class_step) {
    float by = label * class_step;
    Box result = {box.x1 + by, box.y1 + by, box.x2 + by, box.y2 + by};
    return result;
}

// mode 0: every score above the threshold; 1: only the best class of each box; 2: box a is of class a % classes.
// counters[0]: candidates, also those beyond the capacity; counters[1]: kept.
KERNEL void select_candidates(const Box *__restrict__ boxes, const float *__restrict__ scores, int rows, int columns,
                                  int classes, int mode, float threshold, float min_side, int capacity,
                                  int *counters, mask_t *keys, Box *picked, int *labels) {
    int item = blockIdx.x * blockDim.x + threadIdx.x;
    int row = mode == 0 ? item / columns : item;
    if (row >= rows) return;
    int column = mode == 0 ? item % columns : 0;
    if (mode == 1)
        for (int other = 0; other < columns; ++other) {
            float value = scores[row * columns + other];
            if (value != value) return;  // a row with a NaN has no best class
            if (value > scores[row * columns + column]) column = other;
        }
    float score = scores[row * columns + column];
    if (!(score > threshold)) return;
    Box box = boxes[row];
    if (min_side > 0.0f && !(box.x2 - box.x1 >= min_side && box.y2 - box.y1 >= min_side)) return;
    int place = atomicAdd(&counters[0], 1);
    if (place >= capacity) return;
    keys[place] = order_key(score, row * columns + column);
    picked[place] = box;
    labels[place] = mode == 2 ? row % classes : column;
}
LAUNCH(select_candidates, ARG(const Box *, 0), ARG(const float *, 1), ARG(int, 2), ARG(int, 3), ARG(int, 4),
       ARG(int, 5), ARG(float, 6), ARG(float, 7), ARG(int, 8), ARG(int *, 9), ARG(mask_t *, 10), ARG(Box *, 11),
       ARG(int *, 12))

// Ultralytics' raw output: boxes [4, rows] as centre and size, scores [classes, rows], only the best class of each
// box. One thread per box, so that neighbouring threads read neighbouring numbers.
KERNEL void select_planar(const float *__restrict__ boxes, const float *__restrict__ scores, int rows, int classes,
                          float threshold, float min_side, int capacity, int *counters, mask_t *keys, Box *picked,
                          int *labels) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    int best = 0;
    float score = scores[row];
    for (int other = 0; other < classes; ++other) {
        float value = scores[other * rows + row];
        if (value != value) return;  // a box with a NaN has no best class
        if (value > score) {
            best = other;
            score = value;
        }
    }
    if (!(score > threshold)) return;
    float half_width = boxes[2 * rows + row] / 2.0f, half_height = boxes[3 * rows + row] / 2.0f;
    float x = boxes[row], y = boxes[rows + row];
    Box box = {x - half_width, y - half_height, x + half_width, y + half_height};
    if (min_side > 0.0f && !(box.x2 - box.x1 >= min_side && box.y2 - box.y1 >= min_side)) return;
    int place = atomicAdd(&counters[0], 1);
    if (place >= capacity) return;
    keys[place] = order_key(score, row);
    picked[place] = box;
    labels[place] = best;
}
LAUNCH(select_planar, ARG(const float *, 0), ARG(const float *, 1), ARG(int, 2), ARG(int, 3), ARG(float, 4),
       ARG(float, 5), ARG(int, 6), ARG(int *, 7), ARG(mask_t *, 8), ARG(Box *, 9), ARG(int *, 10))

// per_class: only so many of each class may suppress or be kept; 0 means all.
KERNEL void rank_candidates(const int *counters, int capacity, int per_class, const mask_t *__restrict__ keys,
                                const Box *__restrict__ picked, const int *__restrict__ labels, Box *sorted_boxes,
                                float *sorted_scores, int *sorted_labels, int *dead) {
    int count = counters[0] < capacity ? counters[0] : capacity;
    int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= count) return;
    mask_t key = keys[item];
    int label = labels[item], rank = 0, rank_in_class = 0;
    for (int other = 0; other < count; ++other)
        if (keys[other] < key) {
            ++rank;
            rank_in_class += labels[other] == label;
        }
    unsigned ascending = ~(unsigned)(key >> 32);
    float score = __int_as_float((ascending & 0x80000000u) ? (int)(ascending & 0x7fffffffu) : (int)~ascending);
    Box box = picked[item];
    sorted_boxes[rank] = box;
    sorted_scores[rank] = score;
    sorted_labels[rank] = label;
    dead[rank] = (per_class > 0 && rank_in_class >= per_class) || !finite(score) || !finite(box.x1) ||
                 !finite(box.y1) || !finite(box.x2) || !finite(box.y2);
}
LAUNCH(rank_candidates, ARG(const int *, 0), ARG(int, 1), ARG(int, 2), ARG(const mask_t *, 3), ARG(const Box *, 4),
       ARG(const int *, 5), ARG(Box *, 6), ARG(float *, 7), ARG(int *, 8), ARG(int *, 9))

KERNEL void suppress_by_kept(const int *counters, int capacity, int start, int wanted, float threshold,
                                 float class_step, const Box *__restrict__ boxes, const int *__restrict__ labels,
                                 const int *__restrict__ kept, int *dead) {
    int count = counters[0] < capacity ? counters[0] : capacity;
    int item = start + blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= count || item >= start + CHUNK || counters[1] >= wanted || dead[item]) return;
    int label = labels[item];
    Box box = moved(boxes[item], label, class_step);
    for (int index = 0; index < counters[1]; ++index) {
        int better = kept[index];
        if (labels[better] == label && overlap(moved(boxes[better], label, class_step), box, threshold)) {
            dead[item] = 1;
            return;
        }
    }
}
LAUNCH(suppress_by_kept, ARG(const int *, 0), ARG(int, 1), ARG(int, 2), ARG(int, 3), ARG(float, 4), ARG(float, 5),
       ARG(const Box *, 6), ARG(const int *, 7), ARG(const int *, 8), ARG(int *, 9))

// Row i of the matrix, word w: which of the candidates 64 w .. 64 w + 63 of the chunk candidate i suppresses.
KERNEL void overlap_matrix(const int *counters, int capacity, int start, int wanted, float threshold,
                               float class_step, const Box *__restrict__ boxes, const int *__restrict__ labels,
                               const int *__restrict__ dead, mask_t *matrix) {
    int count = counters[0] < capacity ? counters[0] : capacity;
    int row = blockIdx.x * blockDim.x + threadIdx.x, word = blockIdx.y;
    int item = start + row;
    if (row >= CHUNK || item >= count || counters[1] >= wanted) return;
    mask_t bits = 0;
    if (!dead[item] && word >= row / 64) {
        int label = labels[item];
        Box box = moved(boxes[item], label, class_step);
        for (int bit = 0; bit < 64; ++bit) {
            int other = start + word * 64 + bit;
            if (other > item && other < count && !dead[other] && labels[other] == label &&
                overlap(box, moved(boxes[other], label, class_step), threshold))
                bits |= (mask_t)1 << bit;
        }
    }
    matrix[(mask_t)row * WORDS + word] = bits;
}
LAUNCH(overlap_matrix, ARG(const int *, 0), ARG(int, 1), ARG(int, 2), ARG(int, 3), ARG(float, 4), ARG(float, 5),
       ARG(const Box *, 6), ARG(const int *, 7), ARG(const int *, 8), ARG(mask_t *, 9))

// One block. Walks the chunk in order and keeps what nothing better removed; correct for any number of threads.
KERNEL void keep_best(int *counters, int capacity, int start, int wanted, const int *__restrict__ dead,
                          const mask_t *__restrict__ matrix, int *kept) {
    __shared__ mask_t removed[WORDS];
    int count = counters[0] < capacity ? counters[0] : capacity;
    int found = counters[1];
    if (start >= count || found >= wanted) return;
    int size = count - start < CHUNK ? count - start : CHUNK;
    for (int word = threadIdx.x; word < WORDS; word += blockDim.x) {
        mask_t bits = 0;
        for (int bit = 0; bit < 64; ++bit) {
            int row = word * 64 + bit;
            if (row >= size || dead[start + row]) bits |= (mask_t)1 << bit;
        }
        removed[word] = bits;
    }
    __syncthreads();
    for (int word = 0; word < WORDS && found < wanted; ++word) {
        // All threads see the same word here, so they take the same way.
        for (;;) {
            mask_t alive = ~removed[word];
            __syncthreads();
            if (alive == 0 || found >= wanted) break;
            int bit = __ffsll((long long)alive) - 1;
            int row = word * 64 + bit;
            for (int other = word + threadIdx.x; other < WORDS; other += blockDim.x)
                removed[other] |= matrix[(mask_t)row * WORDS + other] | (other == word ? (mask_t)1 << bit : 0);
            if (threadIdx.x == 0) kept[found] = start + row;
            ++found;
            __syncthreads();
        }
    }
    if (threadIdx.x == 0) counters[1] = found;
}
LAUNCH(keep_best, ARG(int *, 0), ARG(int, 1), ARG(int, 2), ARG(int, 3), ARG(const int *, 4), ARG(const mask_t *, 5),
       ARG(int *, 6))

KERNEL void gather_kept(const int *counters, int wanted, const Box *__restrict__ boxes,
                            const float *__restrict__ scores, const int *__restrict__ labels,
                            const int *__restrict__ kept, Box *out_boxes, float *out_scores, int *out_labels) {
    int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= wanted) return;
    Box none = {0.0f, 0.0f, 0.0f, 0.0f};
    bool real = item < counters[1];
    int place = real ? kept[item] : 0;
    out_boxes[item] = real ? boxes[place] : none;
    out_scores[item] = real ? scores[place] : 0.0f;
    out_labels[item] = real ? labels[place] : 0;
}
LAUNCH(gather_kept, ARG(const int *, 0), ARG(int, 1), ARG(const Box *, 2), ARG(const float *, 3), ARG(const int *, 4),
       ARG(const int *, 5), ARG(Box *, 6), ARG(float *, 7), ARG(int *, 8))
