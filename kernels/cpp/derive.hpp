// Stage 1, the twin of kernels/derive.py: one telemetry row -> one row of derived channels.
//
// Memory: everything is taken at construction. What a threshold looks at is computed element by
// element in the oracle's order, so that thresholds fall the same way.
namespace headway::HEADWAY_ISA {

class Derive {
 public:
  Derive(Robot r, Windows w) : robot(std::move(r)), win(std::move(w)) {
    for (int f = 0, at = 0; f < spec::t_COUNT; ++f) {
      offset_[f] = at;
      width_[f] = spec::WIDTH[f] < 0 ? robot.joints : spec::WIDTH[f];
      at += width_[f];
      columns_ = at;
    }
    rows_ = std::max(2 * win.diff, win.diff_force) + 1;
    channels = spec::c_COUNT + robot.joints;
    stride_ = padded(columns_) + 4;  // joint fields are read four at a time, beyond their end
    held_ = Lanes(std::size_t(rows_) * stride_);
    valid_.resize(rows_);
    bit_.resize(columns_);
    for (int f = 0; f < spec::t_COUNT; ++f)
      for (int i = 0; i < width_[f]; ++i) bit_[offset_[f] + i] = 1u << (i < spec::FIRST[f] ? spec::MASK[f] : spec::REST[f]);
    lanes_ = padded(robot.joints);
    const double inf = std::numeric_limits<double>::infinity();
    for (Lanes* a : {&sign_, &dq_max_, &per_dq_, &per_tau_, &one_}) *a = Lanes(lanes_);
    for (int j = 0; j < lanes_; ++j) {
      const bool is = j < robot.joints;  // x / inf and x * 0 take the lanes beyond the joints out
      dq_max_[j] = is ? robot.dq_max[j] : inf;
      per_dq_[j] = is ? 1.0 / robot.dq_max[j] : 0.0;
      per_tau_[j] = is ? 1.0 / robot.tau_max[j] : 0.0;
      one_[j] = is;
    }
    force_ = Lanes(8 * win.taps.size());
    reset();
  }

  void reset() {
    held_.clear();
    sign_.clear();
    force_.clear();
    std::fill(valid_.begin(), valid_.end(), 0u);
    pos_ = 0;
    known_ = 0;
    tap_ = -1;
    count = 0;
    const double dt = 1.0 / robot.rate;
    contact = Contact(dt);
    grasp = Grasp(dt);
    task = Task(dt);
  }

  int columns() const { return columns_; }
  std::uint32_t valid() const { return valid_[pos_]; }

  // `row` holds columns() doubles: the telemetry fields without the leading t_ns; `out` takes the
  // channels, padded to four.
  void push(const double* row, double* out) {
    pos_ = pos_ + 1 == rows_ ? 0 : pos_ + 1;
    validate(row);
    channels_of(out);
    ++count;
  }

  // A field as of the latest tick, held.
  const double* now(int field, int back = 0) const {
    int p = pos_ - back;
    p += p < 0 ? rows_ : 0;
    return held_.data() + std::size_t(p) * stride_ + offset_[field];
  }

  Robot robot;
  Windows win;
  int channels = 0;
  long long count = 0;
  Contact contact{1.0};
  Grasp grasp{1.0};
  Task task{1.0};

 private:
  bool ok(int mask, int back = 0) const {
    int p = pos_ - back;
    p += p < 0 ? rows_ : 0;
    return valid_[p] >> mask & 1u;
  }

  double* cell(int field) { return const_cast<double*>(now(field)); }

  void validate(const double* row) {
    double* x = cell(0);
    const double* before = now(0, 1);
    std::uint32_t bad = 0;
    for (int i = 0; i < columns_; ++i) {
      const bool good = std::fabs(row[i]) <= spec::in_max;  // false for NaN
      x[i] = good ? row[i] : 0.0;
      bad |= good ? 0u : bit_[i];
    }
    constexpr std::uint32_t every = (1u << spec::N_GROUPS) - 1;
    valid_[pos_] = every & ~bad;
    if (bad) {
      difference(spec::m_q, spec::t_q, spec::m_dq, spec::t_dq);
      difference(spec::m_ref, spec::t_q_ref, spec::m_dq_ref, spec::t_dq_ref);
      if (usable(spec::m_tcp, spec::m_twist)) twist();
    }
    size(spec::m_force, spec::t_wrench, 0, spec::t_force_norm, spec::m_force_norm);
    size(spec::m_torque, spec::t_wrench, 3, spec::t_torque_norm, spec::m_torque_norm);
    size(spec::m_twist, spec::t_twist, 0, spec::t_speed, spec::m_speed);
    size(spec::m_twist, spec::t_twist, 3, spec::t_spin, spec::m_spin);
    if (!bad) return;
    const std::uint32_t hold = ~valid_[pos_];
    for (int i = 0; i < columns_; ++i) x[i] = bit_[i] & hold ? before[i] : x[i];
  }

  // Where the three values of a vector from `first` on are valid, their norm counts.
  void size(int source, int vector, int first, int field, int target) {
    if (!ok(source)) return;
    *cell(field) = norm(now(vector) + first, 3);
    valid_[pos_] |= 1u << target;
  }

  bool usable(int source, int target) const {
    return !ok(target) && ok(source) && ok(source, win.diff);
  }

  void difference(int source, int of, int target, int field) {
    if (!usable(source, target)) return;
    const double *a = now(of), *b = now(of, win.diff), gain = robot.rate / win.diff;
    double* out = cell(field);
    for (int j = 0; j < robot.joints; ++j) out[j] = (a[j] - b[j]) * gain;
    valid_[pos_] |= 1u << target;
  }

  void twist() {
    const double *a = now(spec::t_tcp), *b = now(spec::t_tcp, win.diff);
    const double gain = robot.rate / win.diff;
    double* out = cell(spec::t_twist);
    for (int i = 0; i < 3; ++i) out[i] = (a[i] - b[i]) * gain;
    a += 3, b += 3;
    double aa = 0, bb = 0, w = 0, u[3], c[3];
    for (int i = 0; i < 4; ++i) aa += a[i] * a[i], bb += b[i] * b[i], w += a[i] * b[i];
    const double n2 = std::sqrt(aa * bb);
    cross(a + 1, b + 1, c);
    for (int i = 0; i < 3; ++i) {
      u[i] = b[0] * a[1 + i] - a[0] * b[1 + i] - c[i];
      if (w < 0) u[i] = -u[i];
      out[3 + i] = n2 > 1e-12 ? 2.0 * u[i] / n2 * gain : 0.0;
    }
    valid_[pos_] |= 1u << spec::m_twist;
  }

  static void cross(const double* a, const double* b, double* out) {
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
  }

  // `f` turned by quaternion `q` (wxyz, any length), dotted with `v`
  static double turned_dot(const double* q, const double* f, const double* v) {
    const double n2 = q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3];
    if (!(n2 > 1e-12)) return 0.0;
    double t[3], s[3], dot = 0;
    cross(q + 1, f, t);
    for (double& e : t) e *= 2.0;
    cross(q + 1, t, s);
    for (int i = 0; i < 3; ++i) dot += (f[i] + (q[0] * t[i] + s[i]) / n2) * v[i];
    return dot;
  }

  // The taps are symmetric: each meets two samples. Even and odd taps are summed apart, since one
  // chain of additions would be all latency.
  double band(const double* w) {
    const int n = int(win.taps.size()), half = n / 2;
    tap_ = tap_ + 1 == n ? 0 : tap_ + 1;
    const v4 f{w[0], w[1], w[2], 0.0};
    store(force_.data() + 4 * tap_, f);
    store(force_.data() + 4 * (tap_ + n), f);
    known_ = ok(spec::m_force) ? std::min(known_ + 1, n) : 0;  // a stream may run for months
    if (known_ < n) return 0.0;
    const double *a = force_.data() + 4 * (tap_ + 1), *b = a + 4 * (n - 1), *h = win.taps.data();
    v4 even = load(a + 4 * half) * all(h[half]), odd = all(0.0);
    int t = 0;
    for (; t + 1 < half; t += 2) {
      even += (load(a + 4 * t) + load(b - 4 * t)) * all(h[t]);
      odd += (load(a + 4 * t + 4) + load(b - 4 * t - 4)) * all(h[t + 1]);
    }
    if (t < half) even += (load(a + 4 * t) + load(b - 4 * t)) * all(h[t]);
    const v4 y = even + odd;
    return std::sqrt(sum(y * y));
  }

  static double norm(const double* x, int n) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += x[i] * x[i];
    return std::sqrt(sum);
  }

  void channels_of(double* out) {
    using namespace spec;
    const int J = robot.joints, k = win.diff, kf = win.diff_force;
    const double per = robot.rate / k, curve = per * per, jn = 1.0 / std::sqrt(double(J));
    const double *dq = now(t_dq), *dq1 = now(t_dq, k), *dq2 = now(t_dq, 2 * k);
    const double *q = now(t_q), *ref = now(t_q_ref), *dref = now(t_dq_ref);
    const double *tau = now(t_tau_ext), *tau1 = now(t_tau_ext, k);
    const v4 zero = all(0.0), one = all(1.0);
    v4 s_dq = zero, s_acc = zero, s_jerk = zero, s_q = zero, s_err = zero, s_tau = zero;
    v4 s_dtau = zero, turns = zero, fastest = zero;
    for (int j = 0; j < lanes_; j += 4) {
      const v4 at = load(dq + j), at1 = load(dq1 + j), t = load(tau + j);
      const v4 per_dq = load(&per_dq_[j]), per_tau = load(&per_tau_[j]);
      const v4 x = at / load(&dq_max_[j]), size = x < zero ? -x : x;
      store(out + c_COUNT + j, x);
      const v4 acc = (at - at1) * all(per) * per_dq, err = (load(dref + j) - at) * per_dq;
      const v4 jerk = (at - all(2.0) * at1 + load(dq2 + j)) * per_dq;
      const v4 off = (load(ref + j) - load(q + j)) * load(&one_[j]);
      const v4 load_ = t * per_tau, dload = (t - load(tau1 + j)) * all(per) * per_tau;
      s_dq += x * x;
      s_acc += acc * acc;
      s_jerk += jerk * jerk;
      s_q += off * off;
      s_err += err * err;
      s_tau += load_ * load_;
      s_dtau += dload * dload;
      fastest = larger(size, fastest);
      const v4 before = load(&sign_[j]), side = x > zero ? one : -one;
      const m4 beyond = size > all(reversal_deadband);
      turns += (beyond & (side * before < zero)) ? one : zero;
      store(&sign_[j], beyond ? side : before);
    }
    const bool dq_k = ok(m_dq) && ok(m_dq, k);
    out[c_dq] = std::sqrt(sum(s_dq)) * jn;
    out[c_ddq] = dq_k ? std::sqrt(sum(s_acc)) * accel_s * jn : 0.0;
    out[c_jerk] =
        dq_k && ok(m_dq, 2 * k) ? std::sqrt(sum(s_jerk)) * (curve * accel_s * accel_s * jn) : 0.0;
    out[c_q_err] = std::sqrt(sum(s_q)) * (jn / robot.q_tol);
    out[c_dq_err] = std::sqrt(sum(s_err)) * jn;
    out[c_tau] = std::sqrt(sum(s_tau)) * jn;
    out[c_dtau] = ok(m_tau) && ok(m_tau, k) ? std::sqrt(sum(s_dtau)) * accel_s * jn : 0.0;
    out[c_reversals] = sum(turns) / J;
    out[c_saturated] = std::max(std::max(fastest[0], fastest[1]),
                                std::max(fastest[2], fastest[3])) >= saturated;

    const double *v = now(t_twist), *v1 = now(t_twist, k), *v2 = now(t_twist, 2 * k);
    out[c_v] = now(t_speed)[0] / robot.v_max;
    out[c_w] = now(t_spin)[0];
    double vj = 0;
    for (int i = 0; i < 3; ++i) vj += (v[i] - 2 * v1[i] + v2[i]) * (v[i] - 2 * v1[i] + v2[i]);
    const bool v_ok = ok(m_twist) && ok(m_twist, k) && ok(m_twist, 2 * k);
    out[c_vjerk2] = v_ok ? vj * (curve * curve) : 0.0;
    const double *p = now(t_tcp), *p1 = now(t_tcp, 1);
    double step[3];
    for (int i = 0; i < 3; ++i) out[c_px + i] = p[i], step[i] = p[i] - p1[i];
    out[c_path] = ok(m_tcp) && ok(m_tcp, 1) ? norm(step, 3) : 0.0;

    const double *w = now(t_wrench), *w1 = now(t_wrench, kf);
    out[c_F] = now(t_force_norm)[0];
    out[c_M] = now(t_torque_norm)[0];
    std::copy_n(w, 6, out + c_Fx);
    out[c_Fxy] = norm(w, 2);
    for (int i = 0; i < 3; ++i) step[i] = w[i] - w1[i];
    out[c_dF] = ok(m_force) && ok(m_force, kf)
                    ? norm(step, 3) * (diff_force_s * robot.rate / kf)
                    : 0.0;
    const double power = turned_dot(p + 3, w, v) + turned_dot(p + 3, w + 3, v + 3);
    out[c_power] = power;
    out[c_band] = band(w);

    const double width = now(t_width)[0] / robot.stroke, aim = now(t_width_ref)[0] / robot.stroke;
    const bool grip_ok = ok(m_grip_force) && ok(m_grip_force, k);
    const bool width_ok = ok(m_width) && ok(m_width, k);
    const double opening =
        width_ok ? (now(t_width)[0] - now(t_width, k)[0]) * per / robot.stroke : 0.0;
    const double grip = now(t_grip_force)[0];
    out[c_width] = width;
    out[c_width_err] = width - aim;
    out[c_width_rate] = opening;
    out[c_grip] = grip / robot.force_max;
    out[c_grip_rate] = grip_ok ? (grip - now(t_grip_force, k)[0]) * per / robot.force_max : 0.0;
    out[c_touch] = now(t_touch)[0];
    out[c_vacuum] = now(t_vacuum)[0];
    out[c_clamped] = now(t_clamped)[0];
    out[c_seam] = now(t_seam_jump)[0];
    out[c_jitter] = now(t_comms_jitter)[0];
    for (int m = 0; m < N_GROUPS; ++m) out[c_valid_q + m] = ok(m);

    const bool worked = ok(m_force) && ok(m_torque) && ok(m_tcp) && ok(m_twist);
    out[c_onset] = contact.step(ok(m_force_norm), out[c_F], worked ? power : 0.0);
    out[c_holding] = grasp.step(ok(m_width) && ok(m_width_ref), width, aim);
    grasp.lift(ok(m_tcp), p[2], contact.load);
    task.step_phase(ok(m_phase), now(t_phase)[0]);
    task.step_retries(ok(m_retries), now(t_retries)[0]);
    task.step_flags(ok(m_station), now(t_operator)[0], ok(m_vacuum), out[c_vacuum]);
  }

  std::array<int, spec::t_COUNT> offset_{}, width_{};
  int columns_ = 0, rows_ = 0, pos_ = 0, known_ = 0, stride_ = 0, lanes_ = 0, tap_ = 0;
  Lanes held_;                             // (rows_, stride_) ring of rows, invalid fields held
  std::vector<std::uint32_t> valid_, bit_; // (rows_) mask bits; (columns_) the bit of each column
  Lanes sign_;                             // (lanes_) last sign beyond the deadband
  Lanes dq_max_, per_dq_, per_tau_, one_;  // (lanes_)
  Lanes force_;                            // (2 taps, 4)
};

}  // namespace headway::HEADWAY_ISA
