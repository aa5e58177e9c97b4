// The last step, shared by the stream and the whole-window pass: statistics of the last L derived
// channels and the state machines at the latest tick -> the spec's float32 and mask bits.
// Twin of kernels/oracle.py: within 1e-4 relative or 1e-5 absolute of it, per feature.
namespace headway::HEADWAY_ISA {

inline constexpr int N6 = spec::N_MOTION6 + spec::N_FORCE6;  // channels with Stats6, from 0
inline constexpr int N4 = spec::N_GRIP4;                     // channels with Stats4, from N6
inline constexpr int N5 = spec::N_WRENCH5;                   // channels with Stats5, from N6 + N4
inline constexpr int N = 40;  // channels that are summed: all before the mask bits, padded
inline constexpr int LOW = 16;  // channels with squares come before it, those with minima after
static_assert(N >= spec::c_valid_q && N % 8 == 0 && N6 <= LOW && N6 + N4 >= LOW);

// Statistics over the last m ticks. What is squared or raised is about its own mean.
struct Summary {
  int m = 0;
  alignas(64) double mean[N], top[N], slope[N];  // slope [1/s]
  alignas(64) double low[N];                     // from LOW on
  double rms[N6], rms_short[N6];
  double last[N];
  double present[spec::N_GROUPS];    // ticks in which a group was valid
  double slow;                       // ticks below slow_speed
  double first[3], path;             // TCP of the first tick; path since then [m]
  double m2[3], m3[2], m4;           // central moments of Fx, Fy, Fz; Fx, Fy; Fz
  double speed[int(spec::sparc_bins)];  // |DFT| of the speed channel
  double joint_all, joint_low;       // one-sided energies over L^2, of dq / dq_max
  double force_all, force_low, force_band, force_hz;  // of F; force_hz weighted by Hz
  double hold_std, grip_slope;       // width and grip over S; only while something is held
};

// sum of squares of the times that a slope's weights are made of, in ticks
inline double spread(int m) { return m < 2 ? 1.0 : double(m) * (double(m) * m - 1.0) / 12.0; }

class Vector {
 public:
  Vector(const Derive& d, const Summary& s)
      : d_(d), s_(s), per_tick_(1.0 / (d.robot.rate * spec::age_cap_s)) {}

  void write(float* out, float* bits) {
    using namespace spec;
    std::memset(f_, 0, sizeof f_);
    stats();
    motion();
    force();
    gripper();
    status();
    std::uint32_t present = 0;
    for (int m = 0; m < m_COUNT; ++m) {
      const bool is = m < N_GROUPS ? (d_.valid() >> m & 1u) && 2 * s_.present[m] >= s_.m
                                   : d_.robot.rate >= RATES[m - N_GROUPS];
      present |= std::uint32_t(is) << m;
      bits[m] = is;
    }
    for (int i = 0; i < f_COUNT; ++i) {
      double x = f_[i] < -out_max ? -out_max : f_[i];
      x = x > out_max ? out_max : x;
      out[i] = (NEEDS[i] & ~present) == 0 ? float(x) : 0.0f;
    }
  }

 private:
  double age(long long ticks) const {
    return std::min(double(ticks) * per_tick_, 1.0);
  }

  void stats() {
    using namespace spec;
    for (int c = 0; c < N6; ++c) {
      double* o = c < N_MOTION6 ? f_ + AT_motion + 6 * c : f_ + AT_force + 6 * (c - N_MOTION6);
      o[0] = s_.last[c];
      o[1] = s_.mean[c];
      o[2] = s_.rms[c];
      o[3] = s_.top[c];
      o[4] = s_.slope[c];
      o[5] = s_.rms_short[c] / (s_.rms[c] + ratio_eps);
    }
    for (int c = N6 + N4; c < N6 + N4 + N5; ++c) {
      double* o = f_ + AT_force + 6 * N_FORCE6 + 5 * (c - N6 - N4);
      o[0] = s_.last[c];
      o[1] = s_.mean[c];
      o[2] = s_.low[c];
      o[3] = s_.top[c];
      o[4] = s_.slope[c];
    }
    for (int c = N6; c < N6 + N4; ++c) {
      double* o = f_ + AT_gripper + 4 * (c - N6);
      o[0] = s_.last[c];
      o[1] = s_.mean[c];
      o[2] = s_.top[c];
      o[3] = s_.slope[c];
    }
  }

  void motion() {
    using namespace spec;
    const double total = s_.m / d_.robot.rate, peak = s_.top[c_v] * d_.robot.v_max;
    const double t2 = total * total;
    const double rough = t2 * t2 * s_.mean[c_vjerk2] / (peak * peak + speed_floor * speed_floor);
    f_[f_ldlj] = -std::log(rough + ldlj_eps);
    f_[f_sparc] = sparc();
    f_[f_reversals] = s_.mean[c_reversals] * s_.m;
    // where nothing moves both are rounding, and their difference may be less than nothing
    f_[f_hf_share] = std::max(s_.joint_all - s_.joint_low, 0.0) / (s_.joint_all + motion_floor);
    double net = 0;
    for (int i = 0; i < 3; ++i) {
      const double step = s_.last[c_px + i] - s_.first[i];
      net += step * step;
    }
    f_[f_straight] = std::min(std::sqrt(net) / (s_.path + path_floor), 1.0);  // a gap has no path
    f_[f_slow] = s_.slow / s_.m;
    double near = 1.0;
    const double* q = d_.now(t_q);
    for (int j = 0; j < d_.robot.joints; ++j) {
      const double lo = d_.robot.q_min[j], hi = d_.robot.q_max[j], span = hi - lo;
      if (std::isfinite(span) && span > 0)
        near = std::min(near, std::min(q[j] - lo, hi - q[j]) / span);
    }
    f_[f_limit_dist] = near;
    f_[f_saturated] = s_.mean[c_saturated];
  }

  double sparc() const {
    constexpr int bins = int(spec::sparc_bins);
    constexpr double width = 1.0 / (bins - 1);
    const double gain = d_.robot.v_max / d_.win.longer;
    const double first = s_.speed[0] * gain + spec::sparc_floor;
    double arc = 0;
    for (int k = 1; k < bins; ++k) {
      const double step = (s_.speed[k] - s_.speed[k - 1]) * gain / first;
      arc += std::sqrt(width * width + step * step);
    }
    return -arc;
  }

  void force() {
    using namespace spec;
    const double x = s_.m2[0] + moment_floor, y = s_.m2[1] + moment_floor;
    const double z2 = s_.m2[2], z = z2 + moment_floor;
    f_[f_skew_fx] = s_.m3[0] / (x * std::sqrt(x));
    f_[f_skew_fy] = s_.m3[1] / (y * std::sqrt(y));
    f_[f_kurt_fz] = (s_.m4 - 3 * z2 * z2) / (z * z);
    const Contact& c = d_.contact;
    f_[f_contact] = c.on;
    f_[f_onsets] = s_.mean[c_onset] * s_.m;
    f_[f_onset_age] = age(c.age);
    f_[f_peak] = c.peak;
    f_[f_impulse] = c.impulse;
    f_[f_work_neg] = c.work_neg;
    f_[f_work_pos] = c.work_pos;
    f_[f_lateral] = s_.last[c_Fxy] / (std::fabs(s_.last[c_Fz]) + lateral_floor);
    const Grasp& g = d_.grasp;
    f_[f_load_change] = g.lifted && g.state == Grasp::HOLDING ? c.load - g.load : 0.0;
    f_[f_hf_ratio] = s_.force_band / (s_.force_low + s_.force_band + force_floor);
    f_[f_centroid] = s_.force_hz / (s_.force_all + force_floor);
  }

  void gripper() {
    using namespace spec;
    const Grasp& g = d_.grasp;
    if (g.state == Grasp::HOLDING) {
      f_[f_width_drift] = s_.last[c_width] - g.width;
      f_[f_hold_std] = 100.0 * s_.hold_std;
      f_[f_force_decay] = s_.grip_slope;
    }
    f_[f_closed_empty] = g.state == Grasp::EMPTY;
    f_[f_close_age] = age(g.age);
    f_[f_closes] = g.closes;
    f_[f_recloses] = g.recloses;
    f_[f_dropped] = g.dropped;
    f_[f_hold_duty] = s_.mean[c_holding];
    f_[f_vacuum] = s_.last[c_vacuum];
    f_[f_vacuum_slope] = s_.slope[c_vacuum];
    f_[f_vacuum_on] = d_.task.vacuum;
  }

  void status() {
    using namespace spec;
    const auto at = [this](int field) { return *d_.now(field); };
    const double phase = std::floor(at(t_phase) + 0.5), kind = std::floor(at(t_task) + 0.5);
    if (phase >= 0 && phase < N_PHASES) f_[f_phase_0 + int(phase)] = 1.0;
    if (kind >= 0 && kind < N_TASKS) f_[f_task_0 + int(kind)] = 1.0;
    const Task& k = d_.task;
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
    f_[f_clamp_rate] = s_.mean[c_clamped];
    f_[f_watchdog] = at(t_watchdog);
    f_[f_seam] = s_.top[c_seam];
    f_[f_disagreement] = at(t_chunk_disagreement);
    f_[f_jitter] = 1e3 * s_.top[c_jitter];
    f_[f_place_confirm] = at(t_place_confirm);
    f_[f_barcode] = at(t_barcode);
    f_[f_scale_match] = at(t_scale_match);
    f_[f_operator_age] = age(k.operator_age);
  }

  const Derive& d_;
  const Summary& s_;
  const double per_tick_;  // of an age
  alignas(64) double f_[spec::f_COUNT];
};

}  // namespace headway::HEADWAY_ISA
