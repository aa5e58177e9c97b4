// The whole-window pass, for many independent windows: derive every row, then the statistics of the
// last L at once. Nothing is accumulated from window to window.
//
// Memory: everything is taken at construction, (L, C) doubles. At 500 Hz one pass over 117 kB,
// 2 FFTs of 256 and the joints' low bins.
namespace headway::HEADWAY_ISA {

class WholeWindow final : public Window {
 public:
  WholeWindow(const Robot& r, const Windows& w)
      : d_(r, w), fft_(w.longer), weights_(r.rate, w), hann_(w.longer) {
    const int L = w.longer;
    stride_ = padded(d_.channels + 3);
    table_ = Lanes(std::size_t(L) * stride_);
    spare_ = Lanes(stride_);
    in_.resize(L);
    out_.resize(L);
    for (int i = 0; i < L; ++i) hann_[i] = 0.5 - 0.5 * weights_.cosine(i);
    joints_ = padded(r.joints);
    tapered_ = Lanes(std::size_t(L) * joints_);
  }

  void features(const double* rows, std::size_t ticks, std::size_t width, float* out,
                float* bits) override {
    d_.reset();
    const std::size_t L = d_.win.longer, skip = ticks > L ? ticks - L : 0;
    for (std::size_t t = 0; t < ticks; ++t)
      d_.push(rows + t * width + 1, t < skip ? spare_.data() : row(int(t - skip)));
    s_.m = int(ticks - skip);
    stats();
    force();
    joints();
    holding();
    Vector(d_, s_).write(out, bits);
  }

 private:
  double* row(int t) { return table_.data() + std::size_t(t) * stride_; }

  void stats() {
    using namespace spec;
    const int m = s_.m, s = std::min(m, d_.win.shorter);
    constexpr int GROUPS = (N_GROUPS + 3) / 4;
    v4 sum_[N / 4], slope[N / 4], top[N / 4], low[N / 4], square[4], recent[4], valid[GROUPS];
    for (int g = 0; g < N / 4; ++g) {
      sum_[g] = slope[g] = all(0.0);
      top[g] = low[g] = load(row(0) + 4 * g);
    }
    for (int g = 0; g < 4; ++g) square[g] = recent[g] = all(0.0);
    for (v4& v : valid) v = all(0.0);
    s_.slow = s_.path = 0;
    const double crawl = slow_speed / d_.robot.v_max;
    for (int t = 0; t < m; ++t) {
      const double* x = row(t);
      const v4 at = all(t - 0.5 * (m - 1));
      for (int g = 0; g < N / 4; ++g) {
        const v4 y = load(x + 4 * g);
        sum_[g] += y;
        slope[g] += at * y;
        top[g] = larger(y, top[g]);
      }
      for (int g = LOW / 4; g < N / 4; ++g) low[g] = smaller(load(x + 4 * g), low[g]);
      for (int g = 0; g < 4; ++g) {
        const v4 y = load(x + 4 * g);
        square[g] += y * y;
      }
      for (int g = 0; g < GROUPS; ++g) valid[g] += load(x + c_valid_q + 4 * g);
      s_.slow += x[c_v] < crawl;
      s_.path += t ? x[c_path] : 0.0;
    }
    for (int t = m - s; t < m; ++t)
      for (int g = 0; g < 4; ++g) {
        const v4 y = load(row(t) + 4 * g);
        recent[g] += y * y;
      }
    const v4 per = all(m), by = all(d_.robot.rate / spread(m));
    for (int g = 0; g < N / 4; ++g) {
      store(s_.mean + 4 * g, sum_[g] / per);
      store(s_.slope + 4 * g, slope[g] * by);
      store(s_.top + 4 * g, top[g]);
      store(s_.low + 4 * g, low[g]);
      store(s_.last + 4 * g, load(row(m - 1) + 4 * g));
    }
    for (int c = 0; c < N6; ++c) {
      s_.rms[c] = std::sqrt(square[c / 4][c % 4] / m);
      s_.rms_short[c] = std::sqrt(recent[c / 4][c % 4] / s);
    }
    for (int i = 0; i < N_GROUPS; ++i) s_.present[i] = valid[i / 4][i % 4];
    for (int i = 0; i < 3; ++i) s_.first[i] = row(0)[c_px + i];
  }

  // Moments, spectrum of F (mean out, Hann), spectrum of the speed (as it is: SPARC). Fx and Fy go
  // through one complex FFT, Fz through the next, since only the sum of their powers is needed.
  void force() {
    using namespace spec;
    const int L = d_.win.longer, m = s_.m, pad = L - m;
    const v4 mean{s_.mean[c_Fx], s_.mean[c_Fy], s_.mean[c_Fz], 0.0};
    v4 m2 = all(0.0), m3 = m2, m4_ = m2;
    for (int t = 0; t < m; ++t) {
      const double* r = row(t);
      const v4 x = v4{r[c_Fx], r[c_Fy], r[c_Fz], 0.0} - mean, x2 = x * x;
      m2 += x2;
      m3 += x2 * x;
      m4_ += x2 * x2;
    }
    for (int i = 0; i < 3; ++i) s_.m2[i] = m2[i] / m;
    s_.m3[0] = m3[0] / m;
    s_.m3[1] = m3[1] / m;
    s_.m4 = m4_[2] / m;
    weights_.begin();
    for (int pass = 0; pass < 2; ++pass) {
      std::fill(in_.begin(), in_.begin() + pad, Fft::Cplx(0.0, 0.0));
      for (int t = 0; t < m; ++t) {
        const double *r = row(t), h = hann_[pad + t];
        in_[pad + t] = pass ? Fft::Cplx((r[c_Fz] - mean[2]) * h, 0.0)
                            : Fft::Cplx((r[c_Fx] - mean[0]) * h, (r[c_Fy] - mean[1]) * h);
      }
      fft_.run(in_.data(), out_.data());
      for (int k = 1; k <= L / 2; ++k)
        weights_.add(k, 0.5 * (std::norm(out_[k]) + std::norm(out_[L - k])));
    }
    weights_.end(s_);
    for (int k = 0; k < int(sparc_bins); ++k) {
      double re = 0, im = 0;
      for (int t = 0, i = int((long long)k * pad % L); t < m; ++t) {
        re += row(t)[c_v] * weights_.cosine(i);
        im += row(t)[c_v] * weights_.sine(i);
        i += k;
        i -= i >= L ? L : 0;
      }
      s_.speed[k] = std::sqrt(re * re + im * im);
    }
  }

  // Energy of dq / dq_max, mean out and Hann: all of it in time (Parseval), that below 20 Hz in bins.
  void joints() {
    const int L = d_.win.longer, m = s_.m, pad = L - m;
    s_.joint_all = s_.joint_low = 0;
    for (int j = 0; j < joints_; j += 4) {
      v4 mean = all(0.0), whole = all(0.0), y0 = all(0.0);
      for (int t = 0; t < m; ++t) mean += load(row(t) + spec::c_COUNT + j);
      mean /= all(m);
      for (int t = 0; t < m; ++t) {
        const v4 x = (load(row(t) + spec::c_COUNT + j) - mean) * all(hann_[pad + t]);
        store(tapered_.data() + 4 * t, x);
        whole += x * x;
        y0 += x;
      }
      const v4 energy = all(L) * whole - y0 * y0;  // of all bins but 0, over two sides
      s_.joint_all += sum(energy) / (double(L) * L);
      for (int k = 1; k <= weights_.low_joint; ++k)
        s_.joint_low += sum(bin(k, m, pad)) * weights_.side(k) / (double(L) * L);
    }
  }

  v4 bin(int k, int m, int pad) const {
    const int L = d_.win.longer;
    v4 re = all(0.0), im = re;
    for (int t = 0, i = int((long long)k * pad % L); t < m; ++t) {
      const v4 x = load(tapered_.data() + 4 * t);
      re += x * all(weights_.cosine(i));
      im += x * all(weights_.sine(i));
      i += k;
      i -= i >= L ? L : 0;
    }
    return re * re + im * im;
  }

  void holding() {
    using namespace spec;
    if (d_.grasp.state != Grasp::HOLDING) return;
    const int s = std::min(s_.m, d_.win.shorter);
    double mean = 0, square = 0, slope = 0;
    for (int t = 0; t < s; ++t) mean += row(s_.m - s + t)[c_width];
    mean /= s;
    for (int t = 0; t < s; ++t) {
      const double* x = row(s_.m - s + t);
      square += (x[c_width] - mean) * (x[c_width] - mean);
      slope += (t - 0.5 * (s - 1)) * x[c_grip];
    }
    s_.hold_std = std::sqrt(square / s);
    s_.grip_slope = slope * d_.robot.rate / spread(s);
  }

  Derive d_;
  Fft fft_;
  Bins weights_;
  Lanes hann_, table_, spare_, tapered_;  // (L); (L, stride) channels; (stride); (L, 4)
  std::vector<Fft::Cplx> in_, out_;
  Summary s_{};
  int stride_ = 0, joints_ = 0;
};

}  // namespace headway::HEADWAY_ISA
