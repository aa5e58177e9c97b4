// Stage 1, as kernels/derive.py: the derived channels of one tick, from telemetry that is already
// validated and held. Differences come first and scales after: a difference of two near floats is
// exact, so float suffices where the oracle has doubles.
//
// A is a view of the telemetry at one tick: `R` its arithmetic, `v(field, i, lag)` a held value,
// `ok(mask, lag)` whether it was valid, `u_*` what differences in place of rates are multiplied
// with, `power()` and `band()` what other code has computed.
#pragma once
#include "portable.cuh"

namespace headway::gpu {

// flags of a tick: in the lower half the valid groups, in the upper one what was decided in doubles
using Flags = std::uint64_t;
enum Flag : Flags {
  SLOW = Flags(1) << 32,
  SATURATED = Flags(1) << 33,
  ABOVE = Flags(1) << 34,  // |F| >= contact_on
  BELOW = Flags(1) << 35,  // |F| <= contact_off
  ONSET = Flags(1) << 36,
  HELD = Flags(1) << 37,
};
inline constexpr int TURNS = 40;  // a stream's count of joints that turn back, from this bit on
static_assert(spec::N_GROUPS < 32);
inline constexpr std::uint32_t VALID = (1u << spec::N_GROUPS) - 1;
// groups without which there is no power
inline constexpr std::uint32_t WORKS =
    1u << spec::m_force | 1u << spec::m_torque | 1u << spec::m_tcp | 1u << spec::m_twist;

HW_FN void cross(const double* a, const double* b, double* out) {
  out[0] = a[1] * b[2] - a[2] * b[1];
  out[1] = a[2] * b[0] - a[0] * b[2];
  out[2] = a[0] * b[1] - a[1] * b[0];
}

// Translation and rotation vector (2 sin(angle / 2)) between two poses (3 + quaternion wxyz).
HW_FN void twist_between(const double* now, const double* then, double* out) {
  for (int i = 0; i < 3; ++i) out[i] = now[i] - then[i];
  const double *a = now + 3, *b = then + 3;
  double aa = 0, bb = 0, w = 0, c[3];
  for (int i = 0; i < 4; ++i) aa += a[i] * a[i], bb += b[i] * b[i], w += a[i] * b[i];
  const double n2 = sqrt(aa * bb), gain = n2 > 1e-12 ? (w < 0 ? -2.0 : 2.0) / n2 : 0.0;
  cross(a + 1, b + 1, c);
  for (int i = 0; i < 3; ++i) out[3 + i] = gain * (b[0] * a[1 + i] - a[0] * b[1 + i] - c[i]);
}

// F.v + M.w with the wrench turned into the base frame, in doubles: its terms cancel.
template <class A>
HW_FN double power_of(const A& a) {
  double q[4], n2 = 0, sum = 0;
  for (int i = 0; i < 4; ++i) q[i] = a.v(spec::t_tcp, 3 + i, 0), n2 += q[i] * q[i];
  if (!(n2 > 1e-12)) return 0.0;
  for (int part = 0; part < 6; part += 3) {
    double f[3], t[3], s[3];
    for (int i = 0; i < 3; ++i) f[i] = a.v(spec::t_wrench, part + i, 0);
    cross(q + 1, f, t);
    for (double& e : t) e *= 2.0;
    cross(q + 1, t, s);
    for (int i = 0; i < 3; ++i) {
      const double v = a.v(spec::t_twist, part + i, 0) * (part ? 1.0 : double(a.u_twist));
      sum += (f[i] * n2 + q[0] * t[i] + s[i]) * v;
    }
  }
  return sum / n2;
}

// What doubles must decide at this tick; the valid bits are not among them.
template <class A>
HW_FN Flags decisions(const A& a) {
  using namespace spec;
  double f2 = 0, v2 = 0;  // of the vectors; where these are not known the norms decide
  for (int i = 0; i < 3; ++i) {
    const double f = a.v(t_wrench, i, 0), v = double(a.v(t_twist, i, 0)) * double(a.u_twist);
    f2 += f * f;
    v2 += v * v;
  }
  const bool vector = a.ok(m_force, 0);
  const double norm = a.v(t_force_norm, 0, 0), speed = a.v(t_speed, 0, 0);
  Flags out = 0;
  if (a.ok(m_twist, 0) ? v2 < a.p.slow2 : speed < slow_speed) out |= SLOW;
  if (vector ? f2 >= contact_on * contact_on : norm >= contact_on) out |= ABOVE;
  if (vector ? f2 <= contact_off * contact_off : norm <= contact_off) out |= BELOW;
  return out;
}

template <class R>
HW_FN R square(R x) {
  return x * x;
}

template <class A>
HW_FN typename A::R norm3(const A& a, int field, int from, int n) {
  typename A::R sum = 0;
  for (int i = from; i < from + n; ++i) sum += square(a.v(field, i, 0));
  return sqrt(sum);
}

// Channel c; with a constant c only that case is left. Units as kernels/spec.py.
template <class A>
HW_FN typename A::R channel(const A& a, int c) {
  using namespace spec;
  using R = typename A::R;
  const auto& p = a.p;
  const int J = p.joints, k = p.diff, kf = p.diff_force;
  const R per = R(p.rate / k), acc = R(accel_s), jn = R(p.joint_norm);
  R sum = 0;
  switch (c) {
    case c_dq:
      for (int j = 0; j < J; ++j) sum += square(a.v(t_dq, j, 0) * a.dq_inv(j));
      return sqrt(sum) * (jn * a.u_dq);
    case c_v:
      return a.v(t_speed, 0, 0) * R(1.0 / p.v_max);
    case c_w: return a.v(t_spin, 0, 0);
    case c_ddq:
      if (!(a.ok(m_dq, 0) && a.ok(m_dq, k))) return 0;
      for (int j = 0; j < J; ++j) sum += square((a.v(t_dq, j, 0) - a.v(t_dq, j, k)) * a.dq_inv(j));
      return sqrt(sum) * (per * acc * jn * a.u_dq);
    case c_jerk:
      if (!(a.ok(m_dq, 0) && a.ok(m_dq, k) && a.ok(m_dq, 2 * k))) return 0;
      for (int j = 0; j < J; ++j) {
        const R b = a.v(t_dq, j, k);
        sum += square(((a.v(t_dq, j, 0) - b) - (b - a.v(t_dq, j, 2 * k))) * a.dq_inv(j));
      }
      return sqrt(sum) * (per * per * acc * acc * jn * a.u_dq);
    case c_q_err:
      for (int j = 0; j < J; ++j) sum += square(a.v(t_q_ref, j, 0) - a.v(t_q, j, 0));
      return sqrt(sum) * R(p.joint_norm / p.q_tol);
    case c_dq_err:
      for (int j = 0; j < J; ++j)
        sum += square((a.v(t_dq_ref, j, 0) * a.u_dref - a.v(t_dq, j, 0) * a.u_dq) * a.dq_inv(j));
      return sqrt(sum) * jn;
    case c_tau:
      for (int j = 0; j < J; ++j) sum += square(a.v(t_tau_ext, j, 0) * a.tau_inv(j));
      return sqrt(sum) * jn;
    case c_dtau:
      if (!(a.ok(m_tau, 0) && a.ok(m_tau, k))) return 0;
      for (int j = 0; j < J; ++j)
        sum += square((a.v(t_tau_ext, j, 0) - a.v(t_tau_ext, j, k)) * a.tau_inv(j));
      return sqrt(sum) * (per * acc * jn);
    case c_F: return a.v(t_force_norm, 0, 0);
    case c_M: return a.v(t_torque_norm, 0, 0);
    case c_Fxy: return norm3(a, t_wrench, 0, 2);
    case c_dF:
      if (!(a.ok(m_force, 0) && a.ok(m_force, kf))) return 0;
      for (int i = 0; i < 3; ++i) sum += square(a.v(t_wrench, i, 0) - a.v(t_wrench, i, kf));
      return sqrt(sum) * R(diff_force_s * p.rate / kf);
    case c_power: return a.power();
    case c_band: return a.band();
    case c_width: return a.v(t_width, 0, 0) / R(p.stroke);
    case c_width_err: return (a.v(t_width, 0, 0) - a.v(t_width_ref, 0, 0)) / R(p.stroke);
    case c_width_rate:
      if (!(a.ok(m_width, 0) && a.ok(m_width, k))) return 0;
      return (a.v(t_width, 0, 0) - a.v(t_width, 0, k)) * R(p.rate / k / p.stroke);
    case c_grip: return a.v(t_grip_force, 0, 0) / R(p.force_max);
    case c_grip_rate:
      if (!(a.ok(m_grip_force, 0) && a.ok(m_grip_force, k))) return 0;
      return (a.v(t_grip_force, 0, 0) - a.v(t_grip_force, 0, k)) * R(p.rate / k / p.force_max);
    case c_vjerk2:
      if (!(a.ok(m_twist, 0) && a.ok(m_twist, k) && a.ok(m_twist, 2 * k))) return 0;
      for (int i = 0; i < 3; ++i) {
        const R b = a.v(t_twist, i, k);
        sum += square((a.v(t_twist, i, 0) - b) - (b - a.v(t_twist, i, 2 * k)));
      }
      return sum * square(per * per * a.u_twist);
    case c_px:
    case c_py:
    case c_pz: return a.v(t_tcp, c - c_px, 0);
    case c_path:
      if (!(a.ok(m_tcp, 0) && a.ok(m_tcp, 1))) return 0;
      for (int i = 0; i < 3; ++i) sum += square(a.v(t_tcp, i, 0) - a.v(t_tcp, i, 1));
      return sqrt(sum);
    case c_Fx:
    case c_Fy:
    case c_Fz:
    case c_Mx:
    case c_My:
    case c_Mz: return a.v(t_wrench, c - c_Fx, 0);
    case c_touch: return a.v(t_touch, 0, 0);
    case c_vacuum: return a.v(t_vacuum, 0, 0);
    case c_clamped: return a.v(t_clamped, 0, 0);
    case c_seam: return a.v(t_seam_jump, 0, 0);
    case c_jitter: return a.v(t_comms_jitter, 0, 0);
    default: return 0;
  }
}

}  // namespace headway::gpu
