// The fused kernel of the PRO features of kernels/spec.py: one robot, and batches of windows.
//
// Shapes: windows (n, columns, pitch) float32 -> features (n, 209), masks (n, 29) float32; a stream
// takes float64 rows. Columns are the fields of kernels/telemetry.py without t_ns, in their units.
// Memory: nothing is allocated here. A window is read from global memory once and lies in shared
// memory while it is worked on (J = 6, 500 Hz: 79 kB; registers allow two blocks on an SM); larger ones
// use `workspace`. A stream's state is one device buffer; zeroed, it is a new stream.
// Tolerance: 1e-4 relative or 1e-5 absolute of the float64 oracle (kernels/oracle.py) on the same
// inputs, per feature; masks equal.
// Status: kernels return nothing and never trap; a launch's and a synchronisation's CUresult is the
// status, which driver.py turns into an error.
#include "batch.cuh"
#include "stream.cuh"

namespace gpu = headway::gpu;

HW_KERNEL(256)
headway_batch(const gpu::Params* params, const gpu::Vec2* table, const float* windows, int n,
              float* features, float* masks, float* workspace) {
  HW_SHARED(shared);
  gpu::batch<true>(params, table, windows, n, features, masks, workspace, shared);
}

HW_KERNEL(256)
headway_batch_large(const gpu::Params* params, const gpu::Vec2* table, const float* windows, int n,
                    float* features, float* masks, float* workspace) {
  HW_SHARED(shared);
  gpu::batch<false>(params, table, windows, n, features, masks, workspace, shared);
}

HW_KERNEL(256)
headway_stream(const gpu::Params* params, const gpu::Vec2* table, unsigned char* state,
               const double* inbox, float* features, float* mask) {
  HW_SHARED(shared);
  gpu::Params& p = *reinterpret_cast<gpu::Params*>(shared);
  gpu::copy_params(params, shared);
  const gpu::Shared sh = gpu::shared_of(p, table, shared);
  gpu::stream(p, sh, state, inbox, features, mask);
}

// What launching costs by itself: the floor of a tick.
HW_KERNEL(32) headway_empty() {}
