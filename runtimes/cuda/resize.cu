// A frame into the network's input in one pass: bilinear resize (half-pixel centres, no antialiasing, as OpenCV's
// INTER_LINEAR), border, colour order, layout, type and normalisation. One thread per pixel of the canvas.
#include "host.h"

struct Placement { int top, left, height, width; };
struct Channels { float pad[3], offset[3], divisor[3]; };

__device__ __forceinline__ void source_place(int index, int size, int source_size, int &low, int &high, float &weight) {
    float place = (index + 0.5f) * ((float)source_size / (float)size) - 0.5f;
    int whole = (int)floorf(place);
    weight = place - whole;
    if (whole < 0) { whole = 0; weight = 0.0f; }
    if (whole >= source_size - 1) { whole = source_size - 1; weight = 0.0f; }
    low = whole;
    high = whole + 1 < source_size ? whole + 1 : whole;
}

// kind 0: uint8 pixels; 1: float32 pixels, not rounded; 2: float32 of rounded pixels, normalised.
// frame: uint8 [frame_height, frame_width, 3] BGR with rows of `pitch` bytes. channels: by channel of the output,
// except pad, which is BGR. swap: the output is RGB. planar: [3, H, W], else [H, W, 3].
KERNEL void resize_frame(const unsigned char *__restrict__ frame, int frame_height, int frame_width, int pitch,
                             void *out, int canvas_height, int canvas_width, Placement place, Channels channels,
                             int kind, int planar, int swap) {
    int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= canvas_height * canvas_width) return;
    int y = item / canvas_width - place.top, x = item % canvas_width - place.left;
    bool inside = y >= 0 && y < place.height && x >= 0 && x < place.width;
    int top = 0, bottom = 0, left = 0, right = 0;
    float down = 0.0f, across = 0.0f;
    if (inside) {
        source_place(y, place.height, frame_height, top, bottom, down);
        source_place(x, place.width, frame_width, left, right, across);
    }
    for (int channel = 0; channel < 3; ++channel) {
        int from = swap ? 2 - channel : channel;
        float value = channels.pad[from];
        if (inside) {
            const unsigned char *upper = frame + (long long)top * pitch, *lower = frame + (long long)bottom * pitch;
            float above = upper[left * 3 + from] * (1.0f - across) + upper[right * 3 + from] * across;
            float below = lower[left * 3 + from] * (1.0f - across) + lower[right * 3 + from] * across;
            value = above * (1.0f - down) + below * down;
        }
        long long target = planar ? (long long)channel * canvas_height * canvas_width + item : (long long)item * 3 + channel;
        float rounded = rintf(value);
        rounded = rounded < 0.0f ? 0.0f : rounded > 255.0f ? 255.0f : rounded;
        if (kind == 0)
            ((unsigned char *)out)[target] = (unsigned char)rounded;
        else
            ((float *)out)[target] =
                kind == 1 ? value : (rounded - channels.offset[channel]) / channels.divisor[channel];
    }
}
LAUNCH(resize_frame, ARG(const unsigned char *, 0), ARG(int, 1), ARG(int, 2), ARG(int, 3), ARG(void *, 4), ARG(int, 5),
       ARG(int, 6), ARG(Placement, 7), ARG(Channels, 8), ARG(int, 9), ARG(int, 10), ARG(int, 11))
