// Builds the kernels for the CPU: what CUDA gives for free, spelled out. Threads run one after another, so a kernel
// may be built this way if its threads do not wait for one another, or if it is launched with one thread.
#pragma once
#ifdef EDGEDET_HOST
#include <math.h>

struct Index { int x = 0, y = 0, z = 0; };
static thread_local Index blockIdx, threadIdx, blockDim, gridDim;

#define KERNEL static
#define __device__ static
#define __forceinline__ inline
#define __shared__ static
#define __restrict__
#define __syncthreads()

typedef unsigned long long mask_t;

static int atomicAdd(int *address, int value) { int before = *address; *address += value; return before; }
static int __ffsll(long long value) { return __builtin_ffsll(value); }
static float __int_as_float(int bits) { float value; __builtin_memcpy(&value, &bits, 4); return value; }
static int __float_as_int(float value) { int bits; __builtin_memcpy(&bits, &value, 4); return bits; }

template <class T> static T argument(void **values, int index) { return *(T *)values[index]; }

// The same signature for every kernel: grid, block, and pointers to the arguments, as cuLaunchKernel takes them.
#define LAUNCH(name, ...)                                                                            \
    extern "C" void launch_##name(int gx, int gy, int bx, void **values) {                           \
        gridDim.x = gx; gridDim.y = gy; blockDim.x = bx; blockDim.y = 1;                             \
        for (blockIdx.y = 0; blockIdx.y < gy; ++blockIdx.y)                                          \
            for (blockIdx.x = 0; blockIdx.x < gx; ++blockIdx.x)                                      \
                for (threadIdx.x = 0; threadIdx.x < bx; ++threadIdx.x)                               \
                    name(__VA_ARGS__);                                                               \
    }
#define ARG(type, index) argument<type>(values, index)
#else
// C names, so that the driver finds the kernels by them.
#define KERNEL extern "C" __global__
typedef unsigned long long mask_t;
#define LAUNCH(name, ...)
#define ARG(type, index)
#endif
