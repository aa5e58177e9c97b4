// One block per window: what a stream gives that began with the window's first row.
//
// `windows` (n, columns, pitch) float32, column-major so that lanes read neighbouring ticks; the
// columns are those of telemetry.dtype without t_ns. A window is read from global memory once, into
// shared memory (STAGED) or, where it does not fit, into this block's part of `workspace`
// (gridDim, staged, pitch), and validated on the way.
#pragma once
#include "finish.cuh"

namespace headway::gpu {

enum : int { UNIT_DQ = 1, UNIT_DREF = 2, UNIT_TWIST = 4 };  // rates that came from no sensor

// The telemetry of a staged window at tick t.
struct TickOfWindow {
  using R = float;
  const Params& p;
  const float* x;
  const std::uint32_t* words;
  const float *powers, *bands;
  float u_dq, u_dref, u_twist;
  int t;

  HW_FN float v(int field, int i, int lag) const {
    return t >= lag ? x[(p.slot[field] + i) * p.pitch + t - lag] : 0.0f;
  }
  HW_FN bool ok(int mask, int lag) const {
    const int then = t - lag;
    return then >= 0 && (words[mask * p.words + (then >> 5)] >> (then & 31) & 1u);
  }
  HW_FN float dq_inv(int j) const { return p.dq_inv[j]; }
  HW_FN float tau_inv(int j) const { return p.tau_inv[j]; }
  HW_FN float power() const { return powers[t]; }
  HW_FN float band() const { return bands[t]; }
};

// Its last m <= L ticks, as window.cuh wants them.
struct WindowOfBatch {
  static constexpr bool STREAM = false;
  TickOfWindow tick;
  const Params& p;
  const Flags* marks;
  int m, from;

  HW_FN float at(int c, int i) const {
    TickOfWindow a = tick;
    a.t = from + i;
    return channel(a, c);
  }
  HW_FN float joint(int j, int i) const {
    return tick.x[(p.slot[spec::t_dq] + j) * p.pitch + from + i] * (p.dq_inv[j] * tick.u_dq);
  }
  HW_FN float F(int axis, int i) const {
    return tick.x[(p.slot[spec::t_wrench] + axis) * p.pitch + from + i];
  }
  HW_FN Flags flags(int i) const { return marks[from + i]; }
};

struct Block {
  const Params& p;
  Shared sh;
  float *x, *powers, *bands;
  Flags* flags;
  std::uint32_t* words;  // words: (masks, p.words), bit = a tick's group is valid

  HW_FN std::uint32_t* row(int mask) const { return words + mask * p.words; }
  HW_FN float* column(int field, int i) const { return x + (p.slot[field] + i) * p.pitch; }
};

HW_FN void set_words(const Block& b, int base, std::uint32_t valid, int first, int last) {
  std::uint32_t mine = 0;
  for (int g = first; g <= last; ++g) {
    const std::uint32_t w = __ballot_sync(ALL, int(valid >> g & 1u));
    if (lane_id() == g) mine = w;
  }
  if (lane_id() >= first && lane_id() <= last) b.row(lane_id())[base >> 5] = mine;
}

// Where three values of a vector are valid, their norm times `gain` counts: into its column, and
// its bit.
HW_FN std::uint32_t norm_of(const Block& b, int t, std::uint32_t valid, int source, int vector,
                            int first, int field, int target, float gain = 1.0f) {
  if (!(valid >> source & 1u)) return 0;
  float sum = 0;
  for (int i = first; i < first + 3; ++i) sum += square(b.column(vector, i)[t]);
  b.column(field, 0)[t] = sqrtf(sum) * gain;
  return 1u << target;
}

// Of the twist, whose speed is still to be multiplied with `gain`.
HW_FN std::uint32_t twist_norms(const Block& b, int t, std::uint32_t valid, float gain) {
  using namespace spec;
  return norm_of(b, t, valid, m_twist, t_twist, 0, t_speed, m_speed, gain) |
         norm_of(b, t, valid, m_twist, t_twist, 3, t_spin, m_spin);
}

// Read the window, find each tick's valid groups. True in all threads when something is missing.
HW_FN bool load(const Block& b, const float* window) {
  using namespace spec;
  const Params& p = b.p;
  bool bad = false;
  for (int base = 32 * warp_id(); base < 32 * p.words; base += int(blockDim.x)) {
    const int t = base + lane_id();
    std::uint32_t valid = 0;
    if (t < p.ticks) {
      valid = VALID;
HW_UNROLL_8
      for (int c = 0; c < p.columns; ++c) {
        const float x = window[std::size_t(c) * p.pitch + t];
        const int slot = p.slot_of[c];
        if (!(fabsf(x) <= float(spec::in_max))) valid &= ~(1u << p.mask_of[c]);
        if (slot != 255) b.x[slot * p.pitch + t] = x;
      }
      valid |= norm_of(b, t, valid, m_force, t_wrench, 0, t_force_norm, m_force_norm);
      valid |= norm_of(b, t, valid, m_torque, t_wrench, 3, t_torque_norm, m_torque_norm);
      valid |= twist_norms(b, t, valid, 1.0f);
      bad |= valid != VALID;
      b.flags[t] = valid;
    }
    set_words(b, base, valid, 0, spec::N_GROUPS - 1);
  }
  return __syncthreads_or(bad);
}

// dq, dq_ref and twist that are missing become the differences of q, q_ref and tcp where those are
// valid, and the twist's norms follow. A group without one sensed tick keeps plain differences (a unit bit says so).
HW_FN int derive(const Block& b) {
  using namespace spec;
  const Params& p = b.p;
  const int k = p.diff, target[3] = {m_dq, m_dq_ref, m_twist}, source[3] = {m_q, m_ref, m_tcp};
  int units = 0;
  for (int i = 0; i < 3; ++i)
    if (last_tick(b.row(target[i]), p.ticks - 1, true) < 0) units |= 1 << i;
  __syncthreads();  // the words of the targets are written below
  const float per = float(p.rate / k);
  for (int base = 32 * warp_id(); base < 32 * p.words; base += int(blockDim.x)) {
    const int t = base + lane_id();
    std::uint32_t valid = t < p.ticks ? std::uint32_t(b.flags[t]) : 0u;
    for (int i = 0; i < 3 && t < p.ticks && t >= k; ++i) {
      const std::uint32_t* w = b.row(source[i]);
      const int then = t - k;
      if (valid >> target[i] & 1u) continue;
      if (!(w[t >> 5] >> (t & 31) & w[then >> 5] >> (then & 31) & 1u)) continue;
      const float gain = units >> i & 1 ? 1.0f : per;
      if (target[i] == m_twist) {
        double now[7], before[7], twist[6];
        for (int c = 0; c < 7; ++c) {
          now[c] = b.column(t_tcp, c)[t];
          before[c] = b.column(t_tcp, c)[then];
        }
        twist_between(now, before, twist);
        for (int c = 0; c < 3; ++c) b.column(t_twist, c)[t] = float(twist[c]) * gain;
        for (int c = 3; c < 6; ++c) b.column(t_twist, c)[t] = float(twist[c] * (p.rate / k));
        valid |= twist_norms(b, t, 1u << m_twist, units >> i & 1 ? per : 1.0f);
      } else {
        const int from = i ? t_q_ref : t_q, to = i ? t_dq_ref : t_dq;
        for (int j = 0; j < p.joints; ++j)
          b.column(to, j)[t] = (b.column(from, j)[t] - b.column(from, j)[then]) * gain;
      }
      valid |= 1u << target[i];
    }
    if (t < p.ticks) b.flags[t] = valid;
    for (int i = 0; i < 3; ++i) set_words(b, base, valid, target[i], target[i]);
    set_words(b, base, valid, m_speed, m_spin);
  }
  __syncthreads();
  return units;
}

// Ticks of a group that are not valid hold its last valid values, 0 before the first.
HW_FN void hold_missing(const Block& b) {
  const Params& p = b.p;
  for (int t = int(threadIdx.x); t < p.ticks; t += int(blockDim.x)) {
    const std::uint32_t valid = std::uint32_t(b.flags[t]);
    if (valid == VALID) continue;
    int group = -1, from = -1;
    for (int c = 0; c < p.columns; ++c) {
      const int slot = p.slot_of[c], g = p.mask_of[c];
      if (slot == 255 || (valid >> g & 1u)) continue;
      if (g != group) group = g, from = last_tick(b.row(g), t, true);
      b.x[slot * p.pitch + t] = from < 0 ? 0.0f : b.x[slot * p.pitch + from];
    }
  }
  __syncthreads();
}

// |F| after the band-pass. Its taps are symmetric and sum to 0, so they see differences from the
// force in their middle: a constant or a ramp leaves nothing, in float as well.
HW_FN float band_of(const Block& b, int t) {
  const Params& p = b.p;
  if (t < p.n_taps - 1) return 0.0f;
  if (last_tick(b.row(spec::m_force), t, false) > t - p.n_taps) return 0.0f;
  const int half = p.n_taps / 2;
  const float* f = b.column(spec::t_wrench, 0) + t - half;
  const float* taps = p.taps + half;
  float sum[3] = {0, 0, 0};
  const float middle[3] = {f[0], f[p.pitch], f[2 * p.pitch]};
  for (int i = 1; i <= half; ++i)
    for (int a = 0; a < 3; ++a) {
      const float* x = f + a * p.pitch;
      sum[a] = fmaf(taps[i], (x[-i] - middle[a]) + (x[i] - middle[a]), sum[a]);
    }
  return sqrtf(sum[0] * sum[0] + sum[1] * sum[1] + sum[2] * sum[2]);
}

// Each tick by itself: what doubles decide, power, band.
HW_FN void per_tick(const Block& b, TickOfWindow a) {
  const Params& p = b.p;
  for (int t = int(threadIdx.x); t < p.ticks; t += int(blockDim.x)) {
    a.t = t;
    Flags more = decisions(a);
    bool saturated = false;
    for (int j = 0; j < p.joints; ++j)
      saturated |= fabsf(a.v(spec::t_dq, j, 0) * a.u_dq) >= p.dq_sat[j];
    if (saturated) more |= SATURATED;
    b.powers[t] = float(power_of(a));
    b.bands[t] = t >= p.ticks - p.longer ? band_of(b, t) : 0.0f;
    b.flags[t] |= more;
  }
}

// Sign changes of one joint's dq beyond the deadband, within the window; one warp.
HW_FN void turns_of(const Block& b, float unit, int j) {
  const Params& p = b.p;
  const float* dq = b.column(spec::t_dq, j);
  const std::uint32_t below = (1u << lane_id()) - 1u;
  int sign = 0, n = 0;
  for (int base = 0; base < p.ticks; base += 32) {
    const int t = base + lane_id();
    const float x = t < p.ticks ? dq[t] * unit : 0.0f;
    const std::uint32_t up = __ballot_sync(ALL, x > p.dq_dead[j]);
    const std::uint32_t any = up | __ballot_sync(ALL, x < -p.dq_dead[j]);
    const std::uint32_t before = any & below;
    const int was = before ? (up >> (31 - __clz(int(before))) & 1u ? 1 : -1) : sign;
    const int now = any >> lane_id() & 1u ? (up >> lane_id() & 1u ? 1 : -1) : 0;
    n += now * was < 0 && t >= p.ticks - p.longer;
    if (any) sign = up >> (31 - __clz(int(any))) & 1u ? 1 : -1;
  }
  n = warp_sum(n);
  if (lane_id() == 0) b.sh.s->turns[j] = n;
}

// The state machines over all ticks, by one lane each.
HW_FN void run_contact(const Block& b) {
  const Params& p = b.p;
  Contact<float> c;
  c.clear();
  int onsets = 0;
  const float *force = b.column(spec::t_force_norm, 0), dt = float(1.0 / p.rate);
  const float gain = float(p.load_gain);
  for (int t = 0; t < p.ticks; ++t) {
    const Flags f = b.flags[t];
    const bool onset = c.step(f >> spec::m_force_norm & 1u, force[t],
                              (f & WORKS) == WORKS ? b.powers[t] : 0.0f, f & ABOVE, f & BELOW,
                              gain, dt);
    onsets += onset && t >= p.ticks - p.longer;
  }
  b.sh.s->onsets = onsets;
  finish_contact(c, *b.sh.s, p.rate);
}

HW_FN void run_grasp(const Block& b) {
  using namespace spec;
  const Params& p = b.p;
  const float *width = b.column(t_width, 0), *ref = b.column(t_width_ref, 0);
  const float *z = b.column(t_tcp, 2), *force = b.column(t_force_norm, 0);
  const float gain = float(p.load_gain);
  Grasp<float> g;
  Load<float> load;
  g.clear();
  load.clear();
  int held = 0;
  for (int t = 0; t < p.ticks; ++t) {
    const Flags f = b.flags[t];
    if (f >> m_force_norm & 1u) load.step(force[t], gain);
    const bool has = g.step(f >> m_width & f >> m_width_ref & 1u, width[t], ref[t], p);
    held += has && t >= p.ticks - p.longer;
    g.lift(f >> m_tcp & 1u, z[t], load.f.hi);
  }
  b.sh.s->held = held;
  finish_grasp(g, load, width[p.ticks - 1], *b.sh.s, p);
}

HW_FN void run_task(const Block& b) {
  using namespace spec;
  const Params& p = b.p;
  Task<float> k;
  k.clear();
  const float *phase = b.column(t_phase, 0), *retries = b.column(t_retries, 0);
  const float *op = b.column(t_operator, 0), *vacuum = b.column(t_vacuum, 0);
  for (int t = 0; t < p.ticks; ++t) {
    const Flags f = b.flags[t];
    k.step_phase(f >> m_phase & 1u, phase[t]);
    k.step_retries(f >> m_retries & 1u, retries[t], p.rate);
    k.step_flags(f >> m_station & 1u, op[t], f >> m_vacuum & 1u, vacuum[t]);
  }
  finish_task(k, *b.sh.s, p);
}

HW_FN void one_window(const Block& b, const float* window, float* features, float* mask) {
  const Params& p = b.p;
  Scratch& s = *b.sh.s;
  int units = 0;
  if (threadIdx.x == 0) s.ticket = 0;
  if (load(b, window)) {
    units = derive(b);
    hold_missing(b);
  }
  const float per = float(p.rate / p.diff);
  const auto unit = [&](int bit) { return units & bit ? per : 1.0f; };
  const TickOfWindow tick{p,       b.x,           b.words,         b.powers,
                          b.bands, unit(UNIT_DQ), unit(UNIT_DREF), unit(UNIT_TWIST), 0};
  const int m = p.ticks < p.longer ? p.ticks : p.longer;
  const WindowOfBatch w{tick, p, b.flags, m, p.ticks - m};
  per_tick(b, tick);
  if (warp_id() < 3) moments(w, warp_id(), s);
  __syncthreads();
  fold(w, b.sh);
  __syncthreads();
  const int machines = 3, all = machines + window_tasks(p) + p.joints;
  for (;;) {
    int n = 0;
    if (lane_id() == 0) n = atomicAdd(&s.ticket, 1);
    n = __shfl_sync(ALL, n, 0);
    if (n >= all) break;
    if (n < machines) {
      if (lane_id() == 0) {
        if (n == 0) run_grasp(b);
        if (n == 1) run_contact(b);
        if (n == 2) run_task(b);
      }
      __syncwarp();
    } else if (n < machines + window_tasks(p)) {
      window_task(w, b.sh, n - machines);
    } else {
      turns_of(b, tick.u_dq, n - machines - window_tasks(p));
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    int turns = 0;
    for (int j = 0; j < p.joints; ++j) turns += s.turns[j];
    finish_window([&](int j) { return double(b.column(spec::t_q, j)[p.ticks - 1]); },
                  std::uint32_t(b.flags[p.ticks - 1]), turns, m, s, p);
  }
  if (threadIdx.x == 32)
    finish_status(
        [&](int field) {
          const int last = last_tick(b.row(spec::MASK[field]), p.ticks - 1, true);
          return last < 0 ? 0.0 : double(window[std::size_t(p.column[field]) * p.pitch + last]);
        },
        s);
  __syncthreads();
  write(s, features, mask);
  __syncthreads();
}

template <bool STAGED>
HW_FN void batch(const Params* given, const Vec2* table, const float* windows, int n,
                 float* features, float* masks, float* workspace, unsigned char* shared) {
  Params& p = *reinterpret_cast<Params*>(shared);
  copy_params(given, shared);
  const Shared sh = shared_of(p, table, shared);
  const auto floats = [&](int at) { return reinterpret_cast<float*>(shared + at); };
  float* x = STAGED ? floats(p.sh_x)
                    : workspace + std::size_t(blockIdx.x) * p.staged * p.pitch;
  const Block b{p, sh, x, floats(p.sh_power), floats(p.sh_band),
                reinterpret_cast<Flags*>(shared + p.sh_flags),
                reinterpret_cast<std::uint32_t*>(shared + p.sh_words)};
  for (int i = int(blockIdx.x); i < n; i += int(gridDim.x))
    one_window(b, windows + std::size_t(i) * p.columns * p.pitch,
               features + std::size_t(i) * spec::f_COUNT, masks + std::size_t(i) * spec::m_COUNT);
}

}  // namespace headway::gpu
