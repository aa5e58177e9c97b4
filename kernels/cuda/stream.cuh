// One robot: state and ring buffer stay on the device, a launch takes the rows that have come.
//
// `inbox` float64: how many rows (at most INBOX_ROWS; 0 is fine), then the rows as telemetry.dtype
// has them without t_ns. The number is data, not an argument, so that one captured graph serves
// every tick. Rows are derived in double; the ring holds channels as pairs of float32. A zeroed state is a new
// stream. One block; features and mask go straight to where the head reads them.
#pragma once
#include "finish.cuh"

namespace headway::gpu {

// The ring's rows: the channels with statistics, those of EXTRA below, then dq / dq_max per joint.
inline constexpr int N_EXTRA = RING_EXTRA, N_RING = N_STATS + N_EXTRA;

HW_FN constexpr int extra(int i) {
  using namespace spec;
  constexpr int EXTRA[N_EXTRA] = {c_vjerk2, c_px,      c_py,   c_pz,    c_path,
                                  c_vacuum, c_clamped, c_seam, c_jitter};
  return EXTRA[i];
}

HW_FN constexpr int channel_of(int row) { return row < N_STATS ? row : extra(row - N_STATS); }

HW_FN constexpr int ring_row(int c) {
  for (int i = 0; i < N_EXTRA; ++i)
    if (extra(i) == c) return N_STATS + i;
  return c;
}

struct Head {
  long long count;
  int pos, known;  // newest row of the history; valid wrenches in a row
  Contact<double> contact;
  Grasp<double> grasp;
  Task<double> task;
  double sign[MAX_JOINTS];
  std::uint32_t valid;
};
static_assert(sizeof(Head) <= HEAD_BYTES);

struct State {
  const Params& p;
  Head* head;
  std::uint32_t* valid;  // (history)
  double* taps;          // (n_taps, 3) forces, a ring
  double* rows;          // (history, columns), invalid fields held
  Pair* ring;            // (N_RING + J, L)
  Flags* flags;          // (L)
};

struct TickOfStream {
  using R = double;
  static constexpr double u_dq = 1, u_dref = 1, u_twist = 1;
  const Params& p;
  const State& s;
  int pos;

  HW_FN int row(int lag) const { return pos >= lag ? pos - lag : pos - lag + p.history; }
  HW_FN double v(int field, int i, int lag) const {
    return s.rows[row(lag) * p.columns + p.column[field] + i];
  }
  HW_FN bool ok(int mask, int lag) const { return s.valid[row(lag)] >> mask & 1u; }
  HW_FN double dq_inv(int j) const { return 1.0 / p.dq_max[j]; }
  HW_FN double tau_inv(int j) const { return 1.0 / p.tau_max[j]; }
  HW_FN double power() const { return power_of(*this); }
  HW_FN const double* force(int back) const {
    const int at = int(s.head->count % p.n_taps);
    return s.taps + 3 * (at >= back ? at - back : at - back + p.n_taps);
  }
  HW_FN double band() const {  // as batch.cuh
    if (s.head->known < p.n_taps) return 0.0;
    const int half = p.n_taps / 2;
    const double* x0 = force(half);
    double y[3] = {0, 0, 0};
    for (int i = 1; i <= half; ++i) {
      const double *x1 = force(half - i), *x2 = force(half + i);
      for (int a = 0; a < 3; ++a) y[a] += p.taps[half + i] * ((x1[a] - x0[a]) + (x2[a] - x0[a]));
    }
    return sqrt(y[0] * y[0] + y[1] * y[1] + y[2] * y[2]);
  }
};

struct WindowOfStream {
  static constexpr bool STREAM = true;
  const Params& p;
  const State& s;
  int m, from;  // the ring's index of the window's first tick

  HW_FN int index(int i) const {
    const int at = from + i;
    return at >= p.longer ? at - p.longer : at;
  }
  HW_FN Pair at(int c, int i) const { return s.ring[ring_row(c) * p.longer + index(i)]; }
  HW_FN Pair joint(int j, int i) const { return s.ring[(N_RING + j) * p.longer + index(i)]; }
  HW_FN Pair F(int axis, int i) const {
    return at(spec::c_Fx + axis, i);
  }
  HW_FN Flags flags(int i) const { return s.flags[index(i)]; }
};

HW_FN void difference(const TickOfStream& a, std::uint32_t& valid, int source, int of, int target,
                      int field) {
  const Params& p = a.p;
  if (valid >> target & 1u || !(valid >> source & 1u) || !a.ok(source, p.diff)) return;
  double* out = a.s.rows + a.pos * p.columns + p.column[field];
  const double per = p.rate / p.diff;
  if (field == spec::t_twist) {
    double now[7], then[7], twist[6];
    for (int i = 0; i < 7; ++i) now[i] = a.v(of, i, 0), then[i] = a.v(of, i, p.diff);
    twist_between(now, then, twist);
    for (int i = 0; i < 6; ++i) out[i] = twist[i] * per;
  } else {
    for (int j = 0; j < p.joints; ++j) out[j] = (a.v(of, j, 0) - a.v(of, j, p.diff)) * per;
  }
  valid |= 1u << target;
}

// As norm_of in batch.cuh.
HW_FN void size(const TickOfStream& a, std::uint32_t& valid, int source, int vector, int first,
                int field, int target) {
  if (!(valid >> source & 1u)) return;
  a.s.rows[a.pos * a.p.columns + a.p.column[field]] = norm3(a, vector, first, 3);
  valid |= 1u << target;
}

// The machines and what only one thread may do; `f` the flags so far.
HW_FN Flags step_machines(const TickOfStream& a, Flags f, double power) {
  using namespace spec;
  const Params& p = a.p;
  Head& h = *a.s.head;
  if (h.contact.step(f >> m_force_norm & 1u, a.v(t_force_norm, 0, 0),
                     (f & WORKS) == WORKS ? power : 0.0, f & ABOVE, f & BELOW, p.load_gain,
                     1.0 / p.rate))
    f |= ONSET;
  const double w = a.v(t_width, 0, 0), ref = a.v(t_width_ref, 0, 0);
  if (h.grasp.step(f >> m_width & f >> m_width_ref & 1u, w, ref, p)) f |= HELD;
  h.grasp.lift(f >> m_tcp & 1u, a.v(t_tcp, 2, 0), h.contact.load.f.value());
  h.task.step_phase(f >> m_phase & 1u, a.v(t_phase, 0, 0));
  h.task.step_retries(f >> m_retries & 1u, a.v(t_retries, 0, 0), p.rate);
  h.task.step_flags(f >> m_station & 1u, a.v(t_operator, 0, 0), f >> m_vacuum & 1u,
                    a.v(t_vacuum, 0, 0));
  Flags turns = 0;
  for (int j = 0; j < p.joints; ++j) {
    const double x = a.v(t_dq, j, 0) / p.dq_max[j], size = fabs(x);
    if (size >= saturated) f |= SATURATED;
    if (size <= reversal_deadband) continue;
    const double sign = x > 0 ? 1.0 : -1.0;
    turns += sign * h.sign[j] < 0;
    h.sign[j] = sign;
  }
  return f | turns << TURNS;
}

// One row, by the whole block.
HW_FN void take(const State& s, const double* row) {
  using namespace spec;
  const Params& p = s.p;
  Head& h = *s.head;
  const int me = int(threadIdx.x), pos = h.pos + 1 == p.history ? 0 : h.pos + 1;
  const TickOfStream a{p, s, pos};
  double* x = s.rows + pos * p.columns;
  if (me == 0) h.valid = VALID;
  __syncthreads();
  for (int c = me; c < p.columns; c += int(blockDim.x)) {
    const double value = row[c];
    const bool good = fabs(value) <= in_max;
    x[c] = good ? value : 0.0;
    if (!good) atomicAnd(&h.valid, ~(1u << p.mask_of[c]));
  }
  __syncthreads();
  if (me == 0) {
    std::uint32_t valid = h.valid;
    if (valid != VALID) {
      difference(a, valid, m_q, t_q, m_dq, t_dq);
      difference(a, valid, m_ref, t_q_ref, m_dq_ref, t_dq_ref);
      difference(a, valid, m_tcp, t_tcp, m_twist, t_twist);
    }
    size(a, valid, m_force, t_wrench, 0, t_force_norm, m_force_norm);
    size(a, valid, m_torque, t_wrench, 3, t_torque_norm, m_torque_norm);
    size(a, valid, m_twist, t_twist, 0, t_speed, m_speed);
    size(a, valid, m_twist, t_twist, 3, t_spin, m_spin);
    h.valid = s.valid[pos] = valid;
    h.pos = pos;
  }
  __syncthreads();
  const std::uint32_t valid = h.valid;
  const double* held = s.rows + a.row(1) * p.columns;
  for (int c = me; c < p.columns; c += int(blockDim.x))
    if (!(valid >> p.mask_of[c] & 1u)) x[c] = held[c];
  __syncthreads();
  const int at = int(h.count % p.longer);
  if (me == 0) {
    const int tap = int(h.count % p.n_taps);
    for (int i = 0; i < 3; ++i) s.taps[3 * tap + i] = a.v(t_wrench, i, 0);
    h.known = valid >> m_force & 1u ? older(h.known) : 0;
  }
  __syncthreads();
  const int warps = int(blockDim.x) / 32;  // neighbouring formulas in different warps
  for (int r = warp_id() + warps * lane_id(); r < N_RING + p.joints; r += int(blockDim.x)) {
    const double value = r < N_RING ? channel(a, channel_of(r))
                                    : a.v(t_dq, r - N_RING, 0) / p.dq_max[r - N_RING];
    const float hi = float(value);
    s.ring[r * p.longer + at] = {hi, float(value - hi)};
  }
  if (me == int(blockDim.x) - 1)
    s.flags[at] = step_machines(a, valid | decisions(a), power_of(a));
  __syncthreads();
  if (me == 0) ++h.count;
  __syncthreads();
}

HW_FN void stream(const Params& p, const Shared& sh, unsigned char* state, const double* inbox,
                  float* features, float* mask) {
  using namespace spec;
  const State s{p,
                reinterpret_cast<Head*>(state),
                reinterpret_cast<std::uint32_t*>(state + p.at_valid),
                reinterpret_cast<double*>(state + p.at_taps),
                reinterpret_cast<double*>(state + p.at_rows),
                reinterpret_cast<Pair*>(state + p.at_ring),
                reinterpret_cast<Flags*>(state + p.at_flags)};
  Head& h = *s.head;
  Scratch& c = *sh.s;
  if (threadIdx.x == 0) {
    c.ticket = 0;
    c.present = 0;
    if (h.count == 0) {
      h.contact.clear();
      h.grasp.clear();
      h.task.clear();
    }
  }
  for (int i = int(threadIdx.x); i < f_COUNT; i += int(blockDim.x)) c.f[i] = 0.0f;
  __syncthreads();
  const double asked = inbox[0];
  const int n = asked >= INBOX_ROWS ? INBOX_ROWS : asked > 0 ? int(asked) : 0;
  for (int i = 0; i < n; ++i) take(s, inbox + 1 + std::size_t(i) * p.columns);
  if (h.count == 0) {  // nothing known yet: all zero
    write(c, features, mask);
    return;
  }
  const int m = h.count < p.longer ? int(h.count) : p.longer;
  const int newest = int((h.count - 1) % p.longer);
  const WindowOfStream w{p, s, m, newest + 1 >= m ? newest + 1 - m : newest + 1 - m + p.longer};
  if (warp_id() < 3) moments(w, warp_id(), c);
  __syncthreads();
  fold(w, sh);
  __syncthreads();
  for (;;) {
    int task = 0;
    if (lane_id() == 0) task = atomicAdd(&c.ticket, 1);
    task = __shfl_sync(ALL, task, 0);
    if (task >= window_tasks(p)) break;
    window_task(w, sh, task);
  }
  const TickOfStream a{p, s, h.pos};
  if (threadIdx.x == 0) {
    finish_contact(h.contact, c, p.rate);
    finish_grasp(h.grasp, h.contact.load, a.v(t_width, 0, 0), c, p);
    finish_task(h.task, c, p);
    finish_status([&](int field) { return a.v(field, 0, 0); }, c);
  }
  __syncthreads();
  if (threadIdx.x == 0)
    finish_window([&](int j) { return a.v(t_q, j, 0); }, std::uint32_t(s.flags[newest]),
                  c.turns[0], m, c, p);
  __syncthreads();
  write(c, features, mask);
}

}  // namespace headway::gpu
