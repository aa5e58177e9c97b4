// Stage 1, the twin of kernels/derive.py: one telemetry row -> one row of derived channels.
//
// Memory: everything is taken at construction. The window is time-major, (2 L, C) doubles with every
// row written twice, so that the last m <= L rows are one contiguous block and loops over channels
// vectorise. Element-wise arithmetic is in the oracle's order, so thresholds fall the same way.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "events.hpp"

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
    held_.resize(std::size_t(rows_) * columns_);
    valid_.resize(rows_);
    sign_.resize(robot.joints);
    force_.resize(6 * win.taps.size());
    ring_.resize(std::size_t(2) * win.longer * channels);
    reset();
  }

  void reset() {
    std::fill(held_.begin(), held_.end(), 0.0);
    std::fill(valid_.begin(), valid_.end(), 0u);
    std::fill(sign_.begin(), sign_.end(), 0.0);
    std::fill(force_.begin(), force_.end(), 0.0);
    std::fill(ring_.begin(), ring_.end(), 0.0);
    pos_ = 0;
    known_ = 0;
    count = 0;
    const double dt = 1.0 / robot.rate;
    contact = Contact(dt);
    grasp = Grasp(dt);
    task = Task(dt);
  }

  int columns() const { return columns_; }

  // `row` holds columns() doubles: the telemetry fields without the leading t_ns.
  void push(const double* row) {
    pos_ = pos_ + 1 == rows_ ? 0 : pos_ + 1;
    validate(row);
    const int at = int(count % win.longer);
    double* out = ring_.data() + std::size_t(at) * channels;
    channels_of(out);
    std::memcpy(out + std::size_t(win.longer) * channels, out, sizeof(double) * channels);
    ++count;
  }

  int size() const { return count < win.longer ? int(count) : win.longer; }

  // The first of the last m rows; m <= size().
  const double* window(int m) const {
    const long long end = (count - 1) % win.longer + 1 + win.longer;
    return ring_.data() + std::size_t(end - m) * channels;
  }

  // A field as of the latest tick, held.
  const double* now(int field, int back = 0) const {
    int p = pos_ - back;
    p += p < 0 ? rows_ : 0;
    return held_.data() + std::size_t(p) * columns_ + offset_[field];
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
    std::uint32_t valid = (1u << spec::m_COUNT) - 1;
    for (int f = 0; f < spec::t_COUNT; ++f)
      for (int i = offset_[f]; i < offset_[f] + width_[f]; ++i) {
        const bool good = std::fabs(row[i]) <= spec::in_max;  // false for NaN
        x[i] = good ? row[i] : 0.0;
        if (!good) valid &= ~(1u << spec::MASK[f]);
      }
    valid_[pos_] = valid;
    const std::uint32_t all = (1u << spec::m_COUNT) - 1;
    if (valid == all) return;
    difference(spec::m_q, spec::t_q, spec::m_dq, spec::t_dq);
    difference(spec::m_ref, spec::t_q_ref, spec::m_dq_ref, spec::t_dq_ref);
    if (usable(spec::m_tcp, spec::m_twist)) twist();
    const double* before = now(0, 1);
    for (int f = 0; f < spec::t_COUNT; ++f)
      if (!ok(spec::MASK[f]))
        std::memcpy(x + offset_[f], before + offset_[f], sizeof(double) * width_[f]);
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

  double band(const double* w) {
    const int n = int(win.taps.size()), at = int(count % n);
    for (int i = 0; i < 3; ++i) force_[3 * at + i] = force_[3 * (at + n) + i] = w[i];
    known_ = ok(spec::m_wrench) ? known_ + 1 : 0;
    if (known_ < n) return 0.0;
    const double* x = force_.data() + 3 * (at + 1);
    double y[3] = {0, 0, 0};
    for (int t = 0; t < n; ++t)
      for (int i = 0; i < 3; ++i) y[i] += win.taps[t] * x[3 * t + i];
    return std::sqrt(y[0] * y[0] + y[1] * y[1] + y[2] * y[2]);
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
    double s_dq = 0, s_acc = 0, s_jerk = 0, s_q = 0, s_err = 0, s_tau = 0, s_dtau = 0;
    int turns = 0;
    bool saturates = false;
    for (int j = 0; j < J; ++j) {
      const auto sq = [](double e) { return e * e; };
      const double x = dq[j] / robot.dq_max[j], m = robot.dq_max[j], size = std::fabs(x);
      out[c_COUNT + j] = x;
      s_dq += x * x;
      s_acc += sq((dq[j] - dq1[j]) * per / m);
      s_jerk += sq((dq[j] - 2 * dq1[j] + dq2[j]) / m);
      s_q += sq(ref[j] - q[j]);
      s_err += sq((dref[j] - dq[j]) / m);
      s_tau += sq(tau[j] / robot.tau_max[j]);
      s_dtau += sq((tau[j] - tau1[j]) * per / robot.tau_max[j]);
      saturates |= size >= saturated;
      if (size > reversal_deadband) {
        const double sign = x > 0 ? 1.0 : -1.0;
        turns += sign * sign_[j] < 0;
        sign_[j] = sign;
      }
    }
    const bool dq_k = ok(m_dq) && ok(m_dq, k);
    out[c_dq] = std::sqrt(s_dq) * jn;
    out[c_ddq] = dq_k ? std::sqrt(s_acc) * accel_s * jn : 0.0;
    out[c_jerk] =
        dq_k && ok(m_dq, 2 * k) ? std::sqrt(s_jerk) * (curve * accel_s * accel_s * jn) : 0.0;
    out[c_q_err] = std::sqrt(s_q) * (jn / robot.q_tol);
    out[c_dq_err] = std::sqrt(s_err) * jn;
    out[c_tau] = std::sqrt(s_tau) * jn;
    out[c_dtau] = ok(m_tau) && ok(m_tau, k) ? std::sqrt(s_dtau) * accel_s * jn : 0.0;
    out[c_reversals] = double(turns) / J;
    out[c_saturated] = saturates;

    const double *v = now(t_twist), *v1 = now(t_twist, k), *v2 = now(t_twist, 2 * k);
    out[c_v] = norm(v, 3) / robot.v_max;
    double vj = 0;
    for (int i = 0; i < 3; ++i) vj += (v[i] - 2 * v1[i] + v2[i]) * (v[i] - 2 * v1[i] + v2[i]);
    const bool v_ok = ok(m_twist) && ok(m_twist, k) && ok(m_twist, 2 * k);
    out[c_vjerk2] = v_ok ? vj * (curve * curve) : 0.0;
    const double *p = now(t_tcp), *p1 = now(t_tcp, 1);
    double step[3];
    for (int i = 0; i < 3; ++i) out[c_px + i] = p[i], step[i] = p[i] - p1[i];
    out[c_path] = ok(m_tcp) && ok(m_tcp, 1) ? norm(step, 3) : 0.0;

    const double *w = now(t_wrench), *w1 = now(t_wrench, kf);
    out[c_F] = norm(w, 3);
    out[c_M] = norm(w + 3, 3);
    out[c_Fx] = w[0];
    out[c_Fy] = w[1];
    out[c_Fz] = w[2];
    out[c_Fxy] = norm(w, 2);
    for (int i = 0; i < 3; ++i) step[i] = w[i] - w1[i];
    out[c_dF] = ok(m_wrench) && ok(m_wrench, kf)
                    ? norm(step, 3) * (diff_force_s * robot.rate / kf)
                    : 0.0;
    const double power = turned_dot(p + 3, w, v) + turned_dot(p + 3, w + 3, v + 3);
    out[c_power] = power;
    out[c_band] = band(w);

    const double width = now(t_width)[0] / robot.stroke, aim = now(t_width_ref)[0] / robot.stroke;
    const bool grip_ok = ok(m_grip_force) && ok(m_grip_force, k);
    const bool width_ok = ok(m_gripper) && ok(m_gripper, k);
    const double opening =
        width_ok ? (now(t_width)[0] - now(t_width, k)[0]) * per / robot.stroke : 0.0;
    const double grip = now(t_grip_force)[0];
    out[c_width] = width;
    out[c_width_err] = width - aim;
    out[c_width_rate] = opening;
    out[c_grip] = grip / robot.force_max;
    out[c_grip_rate] = grip_ok ? (grip - now(t_grip_force, k)[0]) * per / robot.force_max : 0.0;
    out[c_vacuum] = now(t_vacuum)[0];
    out[c_clamped] = now(t_clamped)[0];
    out[c_seam] = now(t_seam_jump)[0];
    out[c_jitter] = now(t_comms_jitter)[0];
    for (int m = 0; m < m_COUNT; ++m) out[c_valid_q + m] = ok(m);

    const bool worked = ok(m_wrench) && ok(m_tcp) && ok(m_twist);
    out[c_onset] = contact.step(ok(m_wrench), out[c_F], worked ? power : 0.0);
    out[c_holding] = grasp.step(ok(m_gripper), width, aim, opening);
    grasp.lift(ok(m_tcp), p[2], contact.load);
    task.step_phase(ok(m_controller), now(t_phase)[0]);
    task.step_retries(ok(m_retries), now(t_retries)[0]);
    task.step_flags(ok(m_station), now(t_operator)[0], ok(m_vacuum), out[c_vacuum]);
  }

  std::array<int, spec::t_COUNT> offset_{}, width_{};
  int columns_ = 0, rows_ = 0, pos_ = 0, known_ = 0;
  std::vector<double> held_;          // (rows_, columns_) ring of rows, invalid fields held
  std::vector<std::uint32_t> valid_;  // (rows_) mask bits
  std::vector<double> sign_;          // (J) last sign beyond the deadband
  std::vector<double> force_;         // (2 taps, 3)
  std::vector<double> ring_;          // (2 L, channels)
};

}  // namespace headway
