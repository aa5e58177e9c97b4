// Stage 2, the twin of kernels/oracle.py: the last L derived channels -> 176 float32 and 16 bits.
//
// Double precision throughout, windowed (nothing is accumulated from window to window, so nothing
// drifts). Within 1e-4 relative or 1e-5 absolute of the oracle, per feature. No allocation after
// construction; at 500 Hz one pass over a 256 x 57 block (117 kB), and 2 + J / 2 FFTs of 256.
#pragma once
#include "derive.hpp"
#include "fft.hpp"

namespace headway {

class Stream {
 public:
  Stream(Robot r, Windows w) : d(std::move(r), std::move(w)), fft_(d.win.longer) {
    const int L = d.win.longer;
    in_.resize(L);
    out_.resize(L);
    hann_.resize(L);
    cos_.resize(L);
    sin_.resize(L);
    power_.resize(L / 2 + 1);
    for (int i = 0; i < L; ++i) {
      const double turn = 6.283185307179586476925286766559 * i / L;
      cos_[i] = std::cos(turn);
      sin_[i] = std::sin(turn);
      hann_[i] = 0.5 - 0.5 * cos_[i];
    }
  }

  void push(const double* row) { d.push(row); }
  void reset() { d.reset(); }

  void features(float* out, float* bits) {
    using namespace spec;
    std::fill(out, out + f_COUNT, 0.0f);
    std::fill(bits, bits + m_COUNT, 0.0f);
    if (d.count == 0) return;
    m_ = d.size();
    w_ = d.window(m_);
    last_ = w_ + std::size_t(m_ - 1) * d.channels;
    f_.fill(0.0);
    stats();
    motion();
    force();
    gripper();
    status();
    std::uint32_t present = 0;
    for (int m = 0; m < m_COUNT; ++m)
      if (last_[c_valid_q + m] > 0 && mean_[c_valid_q + m] >= 0.5) {
        present |= 1u << m;
        bits[m] = 1.0f;
      }
    for (int i = 0; i < f_COUNT; ++i)
      if ((NEEDS[i] & ~present) == 0) out[i] = float(std::clamp(f_[i], -out_max, out_max));
  }

  Derive d;

 private:
  static constexpr int N6 = spec::N_MOTION6 + spec::N_FORCE6;
  static constexpr int N = spec::c_valid_q;  // channels that have a max and a slope

  double age(long long ticks) const {
    return std::min(double(ticks) / d.robot.rate, spec::age_cap_s) / spec::age_cap_s;
  }

  const double* row(int t) const { return w_ + std::size_t(t) * d.channels; }

  // sum of squares of the times that the slope's weights are made of [s^2]
  double spread(int m) const {
    const double n = m, r = d.robot.rate;
    return m < 2 ? 1.0 : n * (n * n - 1.0) / 12.0 / (r * r);
  }

  // least-squares slope of channel c over the last s ticks [1/s]
  double slope(int c, int s) const {
    double sum = 0;
    for (int t = 0; t < s; ++t)
      sum += (t - 0.5 * (s - 1)) / d.robot.rate * row(m_ - s + t)[c];
    return sum / spread(s);
  }

  void stats() {
    using namespace spec;
    std::array<double, c_COUNT> sum{};
    std::array<double, N> slopes{};
    std::array<double, N6> square{}, recent{};
    for (int c = 0; c < N; ++c) top_[c] = w_[c];
    const int s = std::min(m_, d.win.shorter);
    for (int t = 0; t < m_; ++t) {
      const double* x = row(t);
      const double at = (t - 0.5 * (m_ - 1)) / d.robot.rate;
      for (int c = 0; c < c_COUNT; ++c) sum[c] += x[c];
      for (int c = 0; c < N; ++c) slopes[c] += at * x[c];
      for (int c = 0; c < N; ++c) top_[c] = x[c] > top_[c] ? x[c] : top_[c];
      for (int c = 0; c < N6; ++c) square[c] += x[c] * x[c];
      if (t >= m_ - s)
        for (int c = 0; c < N6; ++c) recent[c] += x[c] * x[c];
    }
    for (int c = 0; c < c_COUNT; ++c) mean_[c] = sum[c] / m_;
    const double by = 1.0 / spread(m_);
    for (int c = 0; c < N; ++c) slope_[c] = slopes[c] * by;
    for (int c = 0; c < N6; ++c) {
      double* o = c < N_MOTION6 ? &f_[AT_motion + 6 * c] : &f_[AT_force + 6 * (c - N_MOTION6)];
      const double rms = std::sqrt(square[c] / m_);
      o[0] = last_[c];
      o[1] = mean_[c];
      o[2] = rms;
      o[3] = top_[c];
      o[4] = slope_[c];
      o[5] = std::sqrt(recent[c] / s) / (rms + ratio_eps);
    }
    for (int g = 0; g < N_GRIP4; ++g) {
      double* o = &f_[AT_gripper + 4 * g];
      o[0] = last_[N6 + g];
      o[1] = mean_[N6 + g];
      o[2] = top_[N6 + g];
      o[3] = slope_[N6 + g];
    }
  }

  // Add |rfft|^2 of channels a and b (b < 0: none), mean out, Hann, zero-padded in front, to power_:
  // the two go through one complex FFT, and only the sum of their powers is needed.
  void add_power(int a, int b) {
    const int L = d.win.longer, pad = L - m_;
    const double mean_a = mean_of(a), mean_b = b < 0 ? 0.0 : mean_of(b);
    std::fill(in_.begin(), in_.begin() + pad, Fft::Cplx(0.0, 0.0));
    for (int t = 0; t < m_; ++t) {
      const double h = hann_[pad + t], *x = row(t);
      in_[pad + t] = {(x[a] - mean_a) * h, b < 0 ? 0.0 : (x[b] - mean_b) * h};
    }
    fft_.run(in_.data(), out_.data());
    for (int k = 0; k <= L / 2; ++k)
      power_[k] += 0.5 * (std::norm(out_[k]) + std::norm(out_[k ? L - k : 0]));
  }

  double mean_of(int c) const {
    if (c < spec::c_COUNT) return mean_[c];
    double sum = 0;
    for (int t = 0; t < m_; ++t) sum += row(t)[c];
    return sum / m_;
  }

  // Weighted sum over the one-sided spectrum of bins within [lo, hi] Hz, DC never.
  template <class Weight>
  double energy(double lo, double hi, Weight weight) const {
    const int L = d.win.longer;
    double sum = 0;
    for (int k = 1; k <= L / 2; ++k) {
      const double hz = k * (d.robot.rate / L);
      if (hz >= lo && hz <= hi)
        sum += power_[k] * weight(hz) * (2 * hz >= d.robot.rate ? 1.0 : 2.0);
    }
    return sum / (double(L) * L);
  }

  void motion() {
    using namespace spec;
    const auto one = [](double) { return 1.0; };
    const double total = m_ / d.robot.rate, peak = f_[f_v_max] * d.robot.v_max;
    const double t2 = total * total;
    const double rough = t2 * t2 * mean_[c_vjerk2] / (peak * peak + speed_floor * speed_floor);
    f_[f_ldlj] = -std::log(rough + ldlj_eps);
    f_[f_sparc] = sparc();
    f_[f_reversals] = mean_[c_reversals] * m_;
    std::fill(power_.begin(), power_.end(), 0.0);
    const int J = d.robot.joints;
    for (int j = 0; j < J; j += 2) add_power(c_COUNT + j, j + 1 < J ? c_COUNT + j + 1 : -1);
    const double low = energy(0.0, motion_hf_hz, one), all = energy(0.0, d.robot.rate, one);
    f_[f_hf_share] = (all - low) / (all + motion_floor);
    double net = 0, path = 0;
    for (int i = 0; i < 3; ++i) {
      const double step = last_[c_px + i] - w_[c_px + i];
      net += step * step;
    }
    int slow = 0;
    for (int t = 0; t < m_; ++t) {
      if (t) path += row(t)[c_path];
      slow += row(t)[c_v] < slow_speed / d.robot.v_max;
    }
    f_[f_straight] = std::min(std::sqrt(net) / (path + path_floor), 1.0);  // a gap has no path
    f_[f_slow] = double(slow) / m_;
    double near = 1.0;
    const double* q = d.now(t_q);
    for (int j = 0; j < J; ++j) {
      const double lo = d.robot.q_min[j], hi = d.robot.q_max[j], span = hi - lo;
      if (std::isfinite(span) && span > 0)
        near = std::min(near, std::min(q[j] - lo, hi - q[j]) / span);
    }
    f_[f_limit_dist] = near;
    f_[f_saturated] = mean_[c_saturated];
  }

  double sparc() const {
    using namespace spec;
    const int L = d.win.longer, bins = int(sparc_bins), pad = L - m_;
    double before = 0, first = 0, arc = 0;
    const double width = 1.0 / (bins - 1);
    for (int k = 0; k < bins; ++k) {
      double re = 0, im = 0;
      int i = int((long long)k * pad % L);
      for (int t = 0; t < m_; ++t) {
        re += row(t)[c_v] * cos_[i];
        im += row(t)[c_v] * sin_[i];
        i += k;
        if (i >= L) i -= L;
      }
      const double a = std::sqrt(re * re + im * im) / L * d.robot.v_max;
      if (k == 0) {
        first = a + sparc_floor;
      } else {
        const double step = (a - before) / first;
        arc += std::sqrt(width * width + step * step);
      }
      before = a;
    }
    return -arc;
  }

  // moments 2, 3, 4 about the mean
  std::array<double, 3> moments(int c) const {
    std::array<double, 3> out{};
    for (int t = 0; t < m_; ++t) {
      const double x = row(t)[c] - mean_[c], x2 = x * x;
      out[0] += x2;
      out[1] += x2 * x;
      out[2] += x2 * x2;
    }
    for (double& o : out) o /= m_;
    return out;
  }

  void force() {
    using namespace spec;
    const auto x = moments(c_Fx), y = moments(c_Fy), z = moments(c_Fz);
    f_[f_skew_fx] = x[1] / std::pow(x[0] + moment_floor, 1.5);
    f_[f_skew_fy] = y[1] / std::pow(y[0] + moment_floor, 1.5);
    f_[f_kurt_fz] = (z[2] - 3 * z[0] * z[0]) / ((z[0] + moment_floor) * (z[0] + moment_floor));
    const Contact& c = d.contact;
    f_[f_contact] = c.on;
    f_[f_onsets] = mean_[c_onset] * m_;
    f_[f_onset_age] = age(c.age);
    f_[f_peak] = c.peak;
    f_[f_impulse] = c.impulse;
    f_[f_work_neg] = c.work_neg;
    f_[f_work_pos] = c.work_pos;
    f_[f_lateral] = last_[c_Fxy] / (std::fabs(last_[c_Fz]) + lateral_floor);
    const Grasp& g = d.grasp;
    f_[f_load_change] = g.lifted && g.state == Grasp::HOLDING ? c.load - g.load : 0.0;
    std::fill(power_.begin(), power_.end(), 0.0);
    add_power(c_Fx, c_Fy);
    add_power(c_Fz, -1);
    const auto one = [](double) { return 1.0; };
    const double all = energy(0.0, d.robot.rate, one), low = energy(0.0, lf_hz, one);
    const double high = energy(d.win.lo, d.win.hi, one);
    f_[f_hf_ratio] = high / (low + high + force_floor);
    f_[f_centroid] = energy(0.0, d.robot.rate, [](double hz) { return hz; }) / (all + force_floor);
  }

  void gripper() {
    using namespace spec;
    const Grasp& g = d.grasp;
    const int s = std::min(m_, d.win.shorter);
    if (g.state == Grasp::HOLDING) {
      double mean = 0, square = 0;
      for (int t = m_ - s; t < m_; ++t) mean += row(t)[c_width] / s;
      for (int t = m_ - s; t < m_; ++t) {
        const double off = row(t)[c_width] - mean;
        square += off * off;
      }
      f_[f_width_drift] = last_[c_width] - g.width;
      f_[f_hold_std] = 100.0 * std::sqrt(square / s);
      f_[f_force_decay] = slope(c_grip, s);
    }
    f_[f_closed_empty] = g.state == Grasp::EMPTY;
    f_[f_close_age] = age(g.age);
    f_[f_closes] = g.closes;
    f_[f_recloses] = g.recloses;
    f_[f_dropped] = g.dropped;
    f_[f_hold_duty] = mean_[c_holding];
    f_[f_vacuum] = last_[c_vacuum];
    f_[f_vacuum_slope] = slope_[c_vacuum];
    f_[f_vacuum_on] = d.task.vacuum;
  }

  void status() {
    using namespace spec;
    const auto at = [this](int field) { return *d.now(field); };
    const double phase = std::floor(at(t_phase) + 0.5), kind = std::floor(at(t_task) + 0.5);
    if (phase >= 0 && phase < 8) f_[f_phase_0 + int(phase)] = 1.0;
    if (kind >= 0 && kind < 3) f_[f_task_0 + int(kind)] = 1.0;
    const Task& k = d.task;
    f_[f_phase_age] = age(k.phase_age);
    f_[f_elapsed] =
        std::min(std::max(at(t_elapsed), 0.0) / std::max(at(t_limit), 1e-3), overtime_max);
    f_[f_retries] = k.retries;
    f_[f_retries_phase] = k.retries - k.retries_before;
    f_[f_retry_age] = age(k.retry_age);
    f_[f_retry_ewma] = k.ewma;
    f_[f_recovery] = at(t_recovery);
    f_[f_stop] = at(t_protective_stop);
    f_[f_ik_failure] = at(t_ik_failure);
    f_[f_clamp_rate] = mean_[c_clamped];
    f_[f_watchdog] = at(t_watchdog);
    f_[f_seam] = top_[c_seam];
    f_[f_disagreement] = at(t_chunk_disagreement);
    f_[f_jitter] = 1e3 * top_[c_jitter];
    f_[f_place_confirm] = at(t_place_confirm);
    f_[f_barcode] = at(t_barcode);
    f_[f_scale_match] = at(t_scale_match);
    f_[f_operator_age] = age(k.operator_age);
  }

  Fft fft_;
  std::vector<Fft::Cplx> in_, out_;
  std::vector<double> hann_, cos_, sin_, power_;
  std::array<double, spec::f_COUNT> f_{};
  std::array<double, spec::c_COUNT> mean_{};
  std::array<double, N> top_{}, slope_{};
  const double *w_ = nullptr, *last_ = nullptr;
  int m_ = 0;
};

}  // namespace headway
