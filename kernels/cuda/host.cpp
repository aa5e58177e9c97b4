// headway.kernels._cuda_host: the CUDA kernels compiled as plain C++, for tests without a GPU.
// Pointers come as integers, as a CUDA driver takes them; `order` see emulate.hpp.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "features.cu"

namespace nb = nanobind;

namespace {

using headway::gpu::Params;
using headway::gpu::Vec2;

template <class T>
T* at(std::uint64_t address) {
  return reinterpret_cast<T*>(static_cast<std::uintptr_t>(address));
}

void launch(const std::string& kernel, int blocks, int threads, int shared_bytes,
            const std::vector<std::uint64_t>& a, unsigned order) {
  std::vector<std::uint64_t> shared(std::size_t(shared_bytes) / 8 + 2);
  const std::size_t wanted = kernel == "headway_stream" ? 6 : kernel == "headway_empty" ? 0 : 7;
  if (a.size() != wanted) throw nb::value_error("wrong number of arguments for this kernel");
  nb::gil_scoped_release unlocked;
  const auto run = [&] {
    if (kernel == "headway_batch" || kernel == "headway_batch_large")
      (kernel == "headway_batch" ? headway_batch : headway_batch_large)(
          at<Params>(a[0]), at<Vec2>(a[1]), at<float>(a[2]), int(a[3]), at<float>(a[4]),
          at<float>(a[5]), at<float>(a[6]));
    else if (kernel == "headway_stream")
      headway_stream(at<Params>(a[0]), at<Vec2>(a[1]), at<unsigned char>(a[2]), at<double>(a[3]),
                     at<float>(a[4]), at<float>(a[5]));
    else if (kernel != "headway_empty")
      throw std::runtime_error("no kernel " + kernel);
  };
  // shared memory is aligned to 16 bytes, and holds nothing that a kernel may rely on
  auto* memory = reinterpret_cast<unsigned char*>(shared.data());
  memory += reinterpret_cast<std::uintptr_t>(memory) % 16;
  for (int i = 0; i < blocks; ++i) {
    std::memset(memory, 0xff, std::size_t(shared_bytes));
    headway::emulate::block_index.x = unsigned(i);
    headway::emulate::grid_size.x = unsigned(blocks);
    headway::emulate::block_size.x = unsigned(threads);
    headway::emulate::run_block(threads, order, run, memory);
  }
}

}  // namespace

NB_MODULE(_cuda_host, m) {
  m.attr("SPEC_HASH") = headway::spec::HASH;
  m.attr("PARAMS_BYTES") = sizeof(Params);
  m.def("launch", &launch, nb::arg("kernel"), nb::arg("blocks"), nb::arg("threads"),
        nb::arg("shared_bytes"), nb::arg("arguments"), nb::arg("order") = 0u);
}
