// What is left when the window and the state machines are done: combinations, ages, masks, output.
#pragma once
#include "window.cuh"

namespace headway::gpu {

HW_FN float age_of(int ticks, double rate) {
  const double age = ticks / rate;
  return float((age < spec::age_cap_s ? age : spec::age_cap_s) / spec::age_cap_s);
}

// By one thread of three each; `now(field)` is a field's held value at the latest tick.
template <class R>
HW_FN void finish_contact(const Contact<R>& c, Scratch& s, double rate) {
  using namespace spec;
  s.f[f_contact] = c.on;
  s.f[f_onset_age] = age_of(c.age, rate);
  s.f[f_peak] = float(c.peak);
  s.f[f_impulse] = float(c.impulse.value());
  s.f[f_work_neg] = float(c.work_neg.value());
  s.f[f_work_pos] = float(c.work_pos.value());
}

template <class R>
HW_FN void finish_grasp(const Grasp<R>& g, const Load<R>& load, R width, Scratch& s,
                        const Params& p) {
  using namespace spec;
  const bool held = g.state == HOLDING;
  s.f[f_width_drift] = held ? float((width - g.width) / R(p.stroke)) : 0.0f;
  s.f[f_load_change] = held && g.lifted ? float((load.f.hi - g.load) + load.f.lo) : 0.0f;
  s.holding = held;
  s.f[f_closed_empty] = g.state == EMPTY;
  s.f[f_close_age] = age_of(g.age, p.rate);
  s.f[f_closes] = float(g.closes);
  s.f[f_recloses] = float(g.recloses);
  s.f[f_dropped] = g.dropped;
}

template <class R>
HW_FN void finish_task(const Task<R>& t, Scratch& s, const Params& p) {
  using namespace spec;
  s.f[f_phase_age] = age_of(t.phase_age, p.rate);
  s.f[f_retries] = float(t.retries);
  s.f[f_retries_phase] = float(t.retries - t.retries_before);
  s.f[f_retry_age] = age_of(t.retry_age, p.rate);
  s.f[f_retry_ewma] = float(t.forgotten(p.rate));
  s.f[f_operator_age] = age_of(t.operator_age, p.rate);
  s.f[f_vacuum_on] = t.vacuum;
}

template <class Now>
HW_FN void finish_status(const Now& now, Scratch& s) {
  using namespace spec;
  const double phase = floor(now(t_phase) + 0.5), kind = floor(now(t_task) + 0.5);
  for (int i = 0; i < N_PHASES; ++i) s.f[f_phase_0 + i] = phase == i;
  for (int i = 0; i < N_TASKS; ++i) s.f[f_task_0 + i] = kind == i;
  const double elapsed = now(t_elapsed), limit = now(t_limit);
  const double over = (elapsed > 0 ? elapsed : 0.0) / (limit > 1e-3 ? limit : 1e-3);
  s.f[f_elapsed] = float(over < overtime_max ? over : overtime_max);
  s.f[f_recovery] = float(now(t_recovery));
  s.f[f_stop] = float(now(t_protective_stop));
  s.f[f_ik_failure] = float(now(t_ik_failure));
  s.f[f_watchdog] = float(now(t_watchdog));
  s.f[f_disagreement] = float(now(t_chunk_disagreement));
  s.f[f_place_confirm] = float(now(t_place_confirm));
  s.f[f_barcode] = float(now(t_barcode));
  s.f[f_scale_match] = float(now(t_scale_match));
}

// After all tasks; `q(j)` as of the latest tick, `last` its flags, `turns` summed over joints.
template <class Q>
HW_FN void finish_window(const Q& q, std::uint32_t last, int turns, int m, Scratch& s,
                         const Params& p) {
  using namespace spec;
  const double total = m / p.rate, peak = double(s.f[f_v_max]) * p.v_max, t2 = total * total;
  const double rough = t2 * t2 * s.vjerk2 / (peak * peak + speed_floor * speed_floor);
  s.f[f_ldlj] = float(-log(rough + ldlj_eps));
  s.f[f_reversals] = float(double(turns) / p.joints);
  s.f[f_slow] = float(double(s.counts[N_GROUPS]) / m);
  s.f[f_saturated] = float(double(s.counts[N_GROUPS + 1]) / m);
  double near = 1.0, all = 0, low = 0;
  for (int j = 0; j < p.joints; ++j) {
    const double span = p.q_max[j] - p.q_min[j], x = q(j);
    all += s.joint_all[j];
    low += s.joint_low[j];
    if (!(span > 0 && span <= DBL_MAX)) continue;
    const double below = (x - p.q_min[j]) / span, above = (p.q_max[j] - x) / span;
    const double nearer = below < above ? below : above;
    near = nearer < near ? nearer : near;
  }
  s.f[f_limit_dist] = float(near);
  s.f[f_hf_share] = float((all - low > 0 ? all - low : 0.0) / (all + motion_floor));
  double force[4] = {0, 0, 0, 0};
  for (int i = 0; i < (p.longer / 2 + 31) / 32; ++i) {
    force[0] += s.force_all[i];
    force[1] += s.force_low[i];
    force[2] += s.force_band[i];
    force[3] += s.force_hz[i];
  }
  s.f[f_hf_ratio] = float(force[2] / (force[1] + force[2] + force_floor));
  s.f[f_centroid] = float(force[3] * (p.rate / p.longer) / (force[0] + force_floor));
  s.f[f_lateral] = float(s.f[f_Fxy_last] / (fabs(double(s.f[f_Fz_last])) + lateral_floor));
  s.f[f_onsets] = float(s.onsets);
  s.f[f_hold_duty] = float(double(s.held) / m);
  if (!s.holding) s.f[f_hold_std] = s.f[f_force_decay] = 0.0f;
  std::uint32_t present = 0;
  for (int b = 0; b < N_GROUPS; ++b)
    if ((last >> b & 1u) && 2 * s.counts[b] >= m) present |= 1u << b;
  for (int b = N_GROUPS; b < m_COUNT; ++b)
    if (p.rate >= RATES[b - N_GROUPS]) present |= 1u << b;
  s.present = present;
}

// All threads: clip, mask, write.
HW_FN void write(const Scratch& s, float* features, float* mask) {
  const float top = float(spec::out_max);
  for (int i = int(threadIdx.x); i < spec::f_COUNT; i += int(blockDim.x)) {
    const float x = fminf(fmaxf(s.f[i], -top), top);
    features[i] = spec::NEEDS[i] & ~s.present ? 0.0f : x;
  }
  for (int i = int(threadIdx.x); i < spec::m_COUNT; i += int(blockDim.x))
    mask[i] = s.present >> i & 1u ? 1.0f : 0.0f;
}

}  // namespace headway::gpu
