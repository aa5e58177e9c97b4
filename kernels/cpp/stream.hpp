// The stream: one telemetry row per tick, O(1), and the features after any tick.
//
// Sums, maxima and moments are kept as in sliding.hpp, spectra as in dft.hpp, counts of whole ticks
// exactly. All of it depends on the rows alone, never on when features were asked for, so a
// recording gives the same bits tick by tick and in one go. Double precision throughout. Memory is
// taken at construction: about 0.5 MB at 500 Hz, of which a tick touches some 25 kB.
namespace headway::HEADWAY_ISA {

class Incremental final : public Stream {
 public:
  Incremental(const Robot& r, const Windows& w)
      : d_(r, w), bins_(r.rate, w), L(w.longer), joints_(padded(r.joints)),
        recent_(w.shorter), moments_(L, 5 * L / 8),
        force_(L, 4, L / 2 + 1), joint_(L, joints_, bins_.low_joint + 1) {
    for (int g = 0; g < LOW / 8; ++g) squares_[g] = Sums<false>(L, g * L / 8);
    for (int g = LOW / 8; g < N / 8; ++g) lows_[g - LOW / 8] = Sums<true>(L, g * L / 8);
    for (int g = 0; g < joints_ / 4; ++g) energies_[g] = Energies(L, (6 * L / 8 + g * L / 16) % L);
    channels_ = Lanes(padded(d_.channels + 3));
    old_stride_ = O_JOINTS + joints_;
    old_ = Lanes(std::size_t(L) * old_stride_);
    old_valid_.resize(L);
    ones_ = Lanes(std::size_t(2) * (L / 2 + 2));
    reset();
  }

  void reset() override {
    d_.reset();
    channels_.clear();
    for (Sums<false>& s : squares_) s.reset();
    for (Sums<true>& s : lows_) s.reset();
    for (int g = 0; g < joints_ / 4; ++g) energies_[g].reset();
    recent_.reset();
    moments_.reset();
    force_.reset();
    joint_.reset();
    old_.clear();
    ones_.clear();
    std::fill(old_valid_.begin(), old_valid_.end(), 0u);
    std::fill(std::begin(present_), std::end(present_), 0);
    slow_ = 0;
    a_ = L - 1;
  }

  void push(const double* row) override {
    using namespace spec;
    double* c = channels_.data();
    d_.push(row, c);
    a_ = a_ + 1 == L ? 0 : a_ + 1;
    const double* turns = bins_.turns();
    for (int g = 0; g < LOW / 8; ++g) squares_[g].push(c + 8 * g);
    for (int g = LOW / 8; g < N / 8; ++g) lows_[g - LOW / 8].push(c + 8 * g);
    recent_.push(c);
    const v4 force{c[c_Fx], c[c_Fy], c[c_Fz], 0.0}, four{c[c_Fx], c[c_Fy], c[c_Fz], c[c_v]};
    moments_.push(force);
    for (int g = 0; g < joints_ / 4; ++g)
      energies_[g].push(load(c + c_COUNT + 4 * g), a_, turns);
    alignas(32) double x[4];
    store(x, four);
    double* old = old_.data() + std::size_t(a_) * old_stride_;
    force_.push(x, old, a_, turns);
    joint_.push(c + c_COUNT, old + O_JOINTS, a_, turns);
    if (d_.count <= L) warm_up();

    const double slow = c[c_v] < slow_speed / d_.robot.v_max;
    slow_ += int(slow) - int(old[O_SLOW]);
    const std::uint32_t valid = d_.valid();
    if (valid != old_valid_[a_]) {
      for (int i = 0; i < N_GROUPS; ++i)
        present_[i] += int(valid >> i & 1u) - int(old_valid_[a_] >> i & 1u);
      old_valid_[a_] = valid;
    }
    store(old, four);
    std::memcpy(old + O_JOINTS, c + c_COUNT, sizeof(double) * joints_);
    std::memcpy(old + O_TCP, c + c_px, sizeof(double) * 3);
    old[O_PATH] = c[c_path];
    old[O_SLOW] = slow;
    old[O_WIDTH] = c[c_width];
    old[O_GRIP] = c[c_grip];
  }

  void features(float* out, float* bits) override {
    if (d_.count == 0) {
      std::fill(out, out + spec::f_COUNT, 0.0f);
      std::fill(bits, bits + spec::m_COUNT, 0.0f);
      return;
    }
    s_.m = int(std::min<long long>(d_.count, L));
    statistics();
    spectra();
    if (d_.grasp.state == Grasp::HOLDING) holding();
    Vector(d_, s_).write(out, bits);
  }

 private:
  // a row of what leaves the window, or is looked up in it
  enum { O_FORCE = 0, O_TCP = 4, O_PATH = 7, O_SLOW, O_WIDTH, O_GRIP, O_JOINTS = 12 };

  const double* old(int back) const {  // `back` ticks before the latest
    const int a = a_ - back;
    return old_.data() + std::size_t(a < 0 ? a + L : a) * old_stride_;
  }

  // The spectrum of the ticks that are there, until the window is full.
  void warm_up() {
    for (int k = 0, i = 0; k < L / 2 + 2; ++k) {
      ones_[2 * k] += bins_.cosine(i);
      ones_[2 * k + 1] -= bins_.sine(i);
      i += a_;
      i -= i >= L ? L : 0;
    }
  }

  void statistics() {
    using namespace spec;
    const int m = s_.m, s = std::min(m, d_.win.shorter);
    alignas(64) double sum_[N], slope[N], square[LOW], recent[16];
    for (int g = 0; g < LOW / 8; ++g)
      squares_[g].read(m, sum_ + 8 * g, slope + 8 * g, s_.top + 8 * g, square + 8 * g);
    for (int g = LOW / 8; g < N / 8; ++g)
      lows_[g - LOW / 8].read(m, sum_ + 8 * g, slope + 8 * g, s_.top + 8 * g, s_.low + 8 * g);
    recent_.read(recent);
    const v4 per = all(m), per_s = all(s), by = all(d_.robot.rate / spread(m));
    for (int g = 0; g < N; g += 4) {
      store(s_.mean + g, load(sum_ + g) / per);
      store(s_.slope + g, load(slope + g) * by);
      store(s_.last + g, load(channels_.data() + g));
    }
    for (int g = 0; g < 16; g += 4) {
      store(square + g, load(square + g) / per);
      store(recent + g, load(recent + g) / per_s);
    }
    for (int c = 0; c < N6; ++c) {
      s_.rms[c] = std::sqrt(square[c]);
      s_.rms_short[c] = std::sqrt(recent[c]);
    }
    const Moments::Part f = moments_.read(m);
    for (int i = 0; i < 3; ++i) s_.m2[i] = f.m2[i] / m;
    s_.m3[0] = f.m3[0] / m;
    s_.m3[1] = f.m3[1] / m;
    s_.m4 = f.m4[2] / m;
    for (int i = 0; i < N_GROUPS; ++i) s_.present[i] = present_[i];
    s_.slow = slow_;
    const double* first = old(m - 1);
    for (int i = 0; i < 3; ++i) s_.first[i] = first[O_TCP + i];
    s_.path = std::max(sum_[c_path] - first[O_PATH], 0.0);
  }

  void spectra() {
    for (int k = 0; k < int(spec::sparc_bins); ++k) {
      if (2 * k > L) {  // at a low rate there are fewer bins
        s_.speed[k] = 0;
        continue;
      }
      const double re = force_.re(k, 0)[3], im = force_.im(k, 0)[3];
      s_.speed[k] = std::sqrt(re * re + im * im);
    }
    const int begin = a_ + 1 == L ? 0 : a_ + 1;
    Hann h{load(s_.mean + spec::c_Fx), bins_.cosine(begin), bins_.sine(begin), s_.m == L,
           ones_.data()};
    h.mean = v4{s_.mean[spec::c_Fx], s_.mean[spec::c_Fy], s_.mean[spec::c_Fz], 0.0};
    bins_.begin();
    power(force_, h, 0, L / 2, [this](int k, v4 p) { bins_.add(k, p[0] + p[1] + p[2]); });
    s_.joint_all = s_.joint_low = 0;
    for (int g = 0; g < joints_; g += 4) joint_energy(h, g);
    const double two = double(L) * L;
    s_.joint_all = std::max(s_.joint_all, 0.0) / two;
    s_.joint_low /= two;
    bins_.end(s_);
  }

  // Calls use(k, |Y_k|^2) for k = 1..last.
  template <class Use>
  static void power(const Dft& x, const Hann& h, int g, int last, Use use) {
    const v4 c = all(h.c), s = all(h.s);
    v4 re0, im0, re1, im1, re2, im2;
    h.bin(x, 0, g, re0, im0);
    h.bin(x, 1, g, re1, im1);
    for (int k = 1; k <= last; ++k) {
      h.bin(x, k + 1, g, re2, im2);
      use(k, Hann::power(re0, im0, re1, im1, re2, im2, c, s));
      re0 = re1;
      im0 = im1;
      re1 = re2;
      im1 = im2;
    }
  }

  // All energy by Parseval from sums in time, that below 20 Hz from the bins.
  void joint_energy(Hann& h, int g) {
    v4 q[5], low = all(0.0);
    energies_[g / 4].read(q);
    h.mean = joint_.re(0, g) / all(s_.m);
    const int b = 2 * (a_ + 1) % L;
    const v4 c1 = all(h.c), s1 = all(h.s), c2 = all(bins_.cosine(b)), s2 = all(bins_.sine(b));
    const auto weighted = [&](v4 x0, v4 x1c, v4 x1s, v4 x2c, v4 x2s) {  // sum of hann^2 x
      return all(0.375) * x0 - all(0.5) * (c1 * x1c + s1 * x1s) +
             all(0.125) * (c2 * x2c + s2 * x2s);
    };
    const v4 zero = all(0.0);
    const v4 one = h.full ? weighted(all(L), zero, zero, zero, zero)
                          : weighted(all(s_.m), all(ones_[2]), all(-ones_[3]), all(ones_[4]),
                                     all(-ones_[5]));
    const v4 linear = weighted(joint_.re(0, g), joint_.re(1, g), -joint_.im(1, g),
                               joint_.re(2, g), -joint_.im(2, g));
    v4 whole = weighted(q[0], q[1], q[2], q[3], q[4]) - all(2.0) * h.mean * linear +
               h.mean * h.mean * one;
    // A joint far faster than its limit, at constant speed: the difference is rounding. From the rows.
    const double kept = sum(whole) + spec::motion_floor * L;
    if (1e-9 * sum(q[0]) > kept) whole = tapered(h.mean, g);
    v4 re, im;
    h.bin(joint_, 1, g, re, im);
    const v4 y0 = all(-0.5) * (c1 * re - s1 * im);
    s_.joint_all += sum(all(L) * whole - y0 * y0);
    power(joint_, h, g, bins_.low_joint, [&](int k, v4 p) { low += p * all(bins_.side(k)); });
    s_.joint_low += sum(low);
  }

  v4 tapered(v4 mean, int g) const {
    v4 sum = all(0.0);
    for (int t = 0; t < s_.m; ++t) {
      const double hann = 0.5 - 0.5 * bins_.cosine(L - 1 - t);
      const v4 x = (load(old(t) + O_JOINTS + g) - mean) * all(hann);
      sum += x * x;
    }
    return sum;
  }

  // Spread of the width and slope of the grip over S: only asked for while something is held.
  void holding() {
    const int s = std::min(s_.m, d_.win.shorter);
    double mean = 0, square = 0, slope = 0;
    for (int t = 0; t < s; ++t) mean += old(t)[O_WIDTH];
    mean /= s;
    for (int t = 0; t < s; ++t) {
      const double *x = old(t), off = x[O_WIDTH] - mean;
      square += off * off;
      slope += (0.5 * (s - 1) - t) * x[O_GRIP];
    }
    s_.hold_std = std::sqrt(square / s);
    s_.grip_slope = slope * d_.robot.rate / spread(s);
  }

  Derive d_;
  Bins bins_;
  const int L, joints_;
  Sums<false> squares_[LOW / 8];
  Sums<true> lows_[(N - LOW) / 8];
  Energies energies_[4];  // of four joints each
  Squares recent_;
  Moments moments_;
  Dft force_, joint_;
  Lanes channels_, old_, ones_;  // (channels); (L, old_stride); (L / 2 + 2, re im)
  std::vector<std::uint32_t> old_valid_;
  int present_[spec::N_GROUPS];
  int slow_ = 0, a_ = 0, old_stride_ = 0;
  Summary s_{};
};

}  // namespace headway::HEADWAY_ISA
