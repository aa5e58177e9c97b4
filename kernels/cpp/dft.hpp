// Sliding DFT of several channels: X_k = sum over the last L ticks of x(t) e^{-2 pi j k t / L}, with
// t counted from the reset, so that a sample is turned the same way when it comes and when it goes:
// X_k += (x_new - x_old) e^{-2 pi j k t / L}. A phase common to the whole window is left to `hann`.
//
// What rounding leaves behind is relative to the amplitudes that went through, so a second set is
// summed from nothing over each block of L ticks and then takes over: no residue is older than
// 2 L ticks, and no tick pays for a rebuild.
namespace headway::HEADWAY_ISA {

class Dft {
 public:
  // `lanes` is a multiple of 4; bins 0..last.
  Dft(int length, int lanes, int last)
      : L(length), lanes_(lanes), bins_(last + 1),
        live_(std::size_t(2) * bins_ * lanes), next_(std::size_t(2) * bins_ * lanes) {}

  void reset() {
    live_.clear();
    next_.clear();
  }

  // `a` is the tick modulo L, `turns` (L, 2) cos and sin of bin 1.
  void push(const double* x, const double* old, int a, const double* turns) {
    double *live = live_.data(), *next = next_.data();
    for (int k = 0, i = 0; k < bins_; ++k, live += 2 * lanes_, next += 2 * lanes_) {
      const v4 c = all(turns[2 * i]), s = all(turns[2 * i + 1]);
      for (int g = 0; g < lanes_; g += 4) {
        const v4 y = load(x + g), d = y - load(old + g);
        store(live + g, load(live + g) + d * c);
        store(live + lanes_ + g, load(live + lanes_ + g) - d * s);
        store(next + g, load(next + g) + y * c);
        store(next + lanes_ + g, load(next + lanes_ + g) - y * s);
      }
      i += a;
      i -= i >= L ? L : 0;
    }
    if (a + 1 < L) return;
    std::swap(live_, next_);
    next_.clear();
  }

  v4 re(int k, int g) const { return load(live_.data() + std::size_t(2 * k) * lanes_ + g); }
  v4 im(int k, int g) const { return load(live_.data() + std::size_t(2 * k + 1) * lanes_ + g); }

 private:
  int L, lanes_, bins_;
  Lanes live_, next_;  // (bins, re im, lanes)
};

// X_k less a mean: the mean's own spectrum is `of` times that of the ticks that are there, which is
// nothing at k > 0 once the window is full. Hann-windowed power of bin k >= 1, from its neighbours:
// Y_k = X_k / 2 - (e^{-j phi} X_{k-1} + e^{j phi} X_{k+1}) / 4, phi where the window begins.
struct Hann {
  v4 mean;
  double c, s;         // cos, sin of phi
  bool full;           // else `ones` (bins, re im) counts
  const double* ones;

  // bin k without the mean, into re and im; bin 0 is 0 by the meaning of a mean
  void bin(const Dft& x, int k, int g, v4& re, v4& im) const {
    re = im = all(0.0);
    if (k == 0) return;
    re = x.re(k, g);
    im = x.im(k, g);
    if (full) return;
    re -= mean * all(ones[2 * k]);
    im -= mean * all(ones[2 * k + 1]);
  }

  static v4 power(v4 re0, v4 im0, v4 re1, v4 im1, v4 re2, v4 im2, v4 c, v4 s) {
    const v4 re = all(0.5) * re1 - all(0.25) * (c * (re0 + re2) + s * (im0 - im2));
    const v4 im = all(0.5) * im1 - all(0.25) * (c * (im0 + im2) + s * (re2 - re0));
    return re * re + im * im;
  }
};

}  // namespace headway::HEADWAY_ISA
