// What the compiled feature kernels share: the robot, the windows, aligned memory, and the two
// interfaces that every instruction set implements (core.cpp).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <vector>

namespace headway {

struct Robot {
  int joints;
  double rate;
  std::vector<double> q_min, q_max, dq_max, tau_max;
  double q_tol, v_max, stroke, force_max;
};

struct Windows {
  int shorter, longer, diff, diff_force;  // [ticks]
  double lo, hi;                          // band [Hz]
  std::vector<double> taps;
};

// Doubles on a cache line of their own, zero at first; taken once, at construction.
class Lanes {
 public:
  Lanes() = default;
  explicit Lanes(std::size_t n) : n_(n) {
    const std::size_t bytes = (n * sizeof(double) + 63) / 64 * 64;
    at_.reset(static_cast<double*>(std::aligned_alloc(64, bytes ? bytes : 64)));
    if (!at_) throw std::bad_alloc();
    clear();
  }
  void clear() { std::memset(at_.get(), 0, n_ * sizeof(double)); }
  double* data() { return at_.get(); }
  const double* data() const { return at_.get(); }
  double& operator[](std::size_t i) { return at_.get()[i]; }
  double operator[](std::size_t i) const { return at_.get()[i]; }
  std::size_t size() const { return n_; }

 private:
  struct Free {
    void operator()(double* p) const { std::free(p); }
  };
  std::unique_ptr<double, Free> at_;
  std::size_t n_ = 0;
};

// One robot's features, tick by tick: O(1) per tick, whatever the window's length.
struct Stream {
  virtual ~Stream() = default;
  virtual void push(const double* row) = 0;  // a telemetry row without its leading t_ns
  virtual void features(float* out, float* bits) = 0;
  virtual void reset() = 0;
};

// Whole recordings that each begin with their first row; the features after the last row.
struct Window {
  virtual ~Window() = default;
  // `rows` (ticks, width) doubles, each with its leading t_ns
  virtual void features(const double* rows, std::size_t ticks, std::size_t width, float* out,
                        float* bits) = 0;
};

struct Core {
  const char* name;
  std::unique_ptr<Stream> (*stream)(const Robot&, const Windows&);
  std::unique_ptr<Window> (*window)(const Robot&, const Windows&);
};

// The cores that this processor can run, the fastest first.
std::vector<Core> cores();

}  // namespace headway
