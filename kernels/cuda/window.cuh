// Stage 2, as kernels/oracle.py: the last m <= L channel rows -> the features, one warp per task.
//
// W is the window: `m`, `p`, `at(c, i)` channel c at its tick i < m, `joint(j, i)` dq / dq_max,
// `flags(i)`, `F(axis, i)`; values are float in a batch, whose inputs are, and Pair in a stream,
// whose inputs are double: a slope over few ticks divides their last digits by dt. Sums are of differences from the latest value; a lane adds few of them
// in float, and lanes are added in double: means of +-1000 N come out to 1e-5 N.
#pragma once
#include "channels.cuh"
#include "machines.cuh"

namespace headway::gpu {

inline constexpr int N6 = spec::N_MOTION6 + spec::N_FORCE6, N4 = spec::N_GRIP4;
inline constexpr int N5 = spec::N_WRENCH5, N_STATS = N6 + N4 + N5;
inline constexpr int LOW_BINS = 10;    // 20 Hz at 1 / 0.512 s a bin
inline constexpr int MAX_FORCE = 32;   // warps' worth of bins: L / 64 at 4 kHz
inline constexpr int N_COUNTS = spec::N_GROUPS + 2;  // valid groups, slow, saturated

struct Scratch {
  float f[spec::f_COUNT];
  float joint_all[MAX_JOINTS], joint_low[MAX_JOINTS];
  float force_all[MAX_FORCE], force_low[MAX_FORCE], force_band[MAX_FORCE], force_hz[MAX_FORCE];
  float offset[3];  // of F: its mean's difference from its latest value
  int counts[N_COUNTS];
  int turns[MAX_JOINTS];
  int onsets, held, ticket;
  bool holding;  // at the latest tick
  std::uint32_t present;
  double vjerk2;
};
static_assert(sizeof(Scratch) <= SCRATCH_BYTES);

// hi + lo, lo what rounding to hi left.
struct alignas(8) Pair {
  float hi, lo;
};
HW_FN float value(float x) { return x; }
HW_FN float value(Pair x) { return x.hi; }
HW_FN double wide(float x) { return x; }
HW_FN double wide(Pair x) { return double(x.hi) + double(x.lo); }
HW_FN float minus(float a, float b) { return a - b; }
HW_FN float minus(Pair a, Pair b) { return (a.hi - b.hi) + (a.lo - b.lo); }

// Where a task finds shared memory.
struct Shared {
  Scratch* s;
  Vec2* table;  // (L) cos and sin of 2 pi i / L
  Vec4* fold;   // 2 (L / 2 + 1): F windowed, x[i] + x[L - i] and x[i] - x[L - i]
};

// The parameters are read all the time, so they lie in shared memory, first of all. All threads.
HW_FN void copy_params(const Params* given, unsigned char* shared) {
  for (int i = int(threadIdx.x); i < int(sizeof(Params) / 4); i += int(blockDim.x))
    reinterpret_cast<int*>(shared)[i] = reinterpret_cast<const int*>(given)[i];
  __syncthreads();
}

HW_FN Shared shared_of(const Params& p, const Vec2* table, unsigned char* shared) {
  const Shared sh{reinterpret_cast<Scratch*>(shared + p.sh_scratch),
                  reinterpret_cast<Vec2*>(shared + p.sh_table),
                  reinterpret_cast<Vec4*>(shared + p.sh_fold)};
  for (int i = int(threadIdx.x); i < p.longer; i += int(blockDim.x)) sh.table[i] = table[i];
  __syncthreads();
  return sh;
}

HW_FN float hann(const Vec2* table, int i) { return 0.5f - 0.5f * table[i].x; }

HW_FN double slope_gain(int m, double rate) {
  return m < 2 ? 0.0 : 6.0 * rate / (double(m) * (double(m) * m - 1.0));
}

template <class W>
HW_FN void stats(const W& w, const int c, float* out, const int kind) {  // kind: Stats6, 5 or 4
  const int m = w.m, s = m < w.p.shorter ? m : w.p.shorter;
  const auto x0 = w.at(c, m - 1);
  float sum = 0, tilt = 0, sq = 0, recent = 0, top = -FLT_MAX, low = FLT_MAX;
  for (int i = lane_id(); i < m; i += 32) {
    const auto at = w.at(c, i);
    const float x = value(at), d = minus(at, x0), x2 = x * x;
    sum += d;
    tilt = fmaf(float(2 * i - (m - 1)), d, tilt);
    sq += x2;
    recent += i >= m - s ? x2 : 0.0f;
    top = fmaxf(top, x);
    low = fminf(low, x);
  }
  const bool six = kind == 6, four = kind == 4;
  const double total = warp_sum(double(sum)), turned = warp_sum(double(tilt));
  top = warp_max(top);
  sq = six ? warp_sum(sq) : 0.0f;
  recent = six ? warp_sum(recent) : 0.0f;
  low = kind == 5 ? -warp_max(-low) : 0.0f;
  if (lane_id()) return;
  const float mean = float(wide(x0) + total / m), slope = float(turned * slope_gain(m, w.p.rate));
  const float rms = sqrtf(sq / m);
  out[0] = value(x0);
  out[1] = mean;
  out[four ? 2 : 3] = top;
  out[four ? 3 : 4] = slope;
  if (kind == 5) out[2] = low;
  if (six) out[2] = rms, out[5] = sqrtf(recent / s) / (rms + float(spec::ratio_eps));
}

template <class W>
HW_FN void stats_of(const W& w, int c, float* f) {
  using namespace spec;
  float* o = c < N_MOTION6 ? f + AT_motion + 6 * c
             : c < N6      ? f + AT_force + 6 * (c - N_MOTION6)
             : c < N6 + N4 ? f + AT_gripper + 4 * (c - N6)
                           : f + AT_force + 6 * N_FORCE6 + 5 * (c - N6 - N4);
  switch (c) {  // each with a constant channel
#define HW_CASE(n) \
  case n: stats(w, n, o, n < N6 ? 6 : n < N6 + N4 ? 4 : 5); break;
    HW_CASE(0) HW_CASE(1) HW_CASE(2) HW_CASE(3) HW_CASE(4) HW_CASE(5) HW_CASE(6) HW_CASE(7)
    HW_CASE(8) HW_CASE(9) HW_CASE(10) HW_CASE(11) HW_CASE(12) HW_CASE(13) HW_CASE(14) HW_CASE(15)
    HW_CASE(16) HW_CASE(17) HW_CASE(18) HW_CASE(19) HW_CASE(20) HW_CASE(21) HW_CASE(22) HW_CASE(23)
    HW_CASE(24) HW_CASE(25) HW_CASE(26)
#undef HW_CASE
  }
  static_assert(N_STATS == 27);
}

// Vacuum, clamps, seams, jitter, jerk and path: what has no full set of statistics.
template <class W>
HW_FN void others(const W& w, Scratch& s) {
  using namespace spec;
  const int m = w.m;
  const auto x0 = w.at(c_vacuum, m - 1);
  float tilt = 0, clamped = 0, seam = -FLT_MAX, jitter = -FLT_MAX, rough = 0, path = 0;
  for (int i = lane_id(); i < m; i += 32) {
    tilt = fmaf(float(2 * i - (m - 1)), minus(w.at(c_vacuum, i), x0), tilt);
    clamped += value(w.at(c_clamped, i));
    seam = fmaxf(seam, value(w.at(c_seam, i)));
    jitter = fmaxf(jitter, value(w.at(c_jitter, i)));
    rough += value(w.at(c_vjerk2, i));
    path += i ? value(w.at(c_path, i)) : 0.0f;
  }
  const double turned = warp_sum(double(tilt)), clamps = warp_sum(double(clamped));
  const double jerk2 = warp_sum(double(rough)), length = warp_sum(double(path));
  seam = warp_max(seam);
  jitter = warp_max(jitter);
  if (lane_id()) return;
  double net = 0;
  for (int i = 0; i < 3; ++i) {
    const double step = wide(w.at(c_px + i, m - 1)) - wide(w.at(c_px + i, 0));
    net += step * step;
  }
  const double straight = sqrt(net) / (length + path_floor);
  s.f[f_straight] = float(straight < 1.0 ? straight : 1.0);
  s.f[f_vacuum] = value(x0);
  s.f[f_vacuum_slope] = float(turned * slope_gain(m, w.p.rate));
  s.f[f_clamp_rate] = float(clamps / m);
  s.f[f_seam] = seam;
  s.f[f_jitter] = 1e3f * jitter;
  s.vjerk2 = jerk2 / m;
}

// Ticks in the window with each flag set.
template <class W>
HW_FN void counts(const W& w, Scratch& s) {
  int mine = 0, onsets = 0, held = 0, turns = 0;
  for (int base = 0; base < w.m; base += 32) {
    const int i = base + lane_id();
    const Flags f = i < w.m ? w.flags(i) : Flags(0);
    static_assert(SATURATED == SLOW << 1 && N_COUNTS <= 32);
    for (int b = 0; b < N_COUNTS; ++b) {
      const int bit = b < spec::N_GROUPS ? b : 32 + b - spec::N_GROUPS;
      const int n = __popc(__ballot_sync(ALL, int(f >> bit & 1u)));
      mine += lane_id() == b ? n : 0;
    }
    if (W::STREAM) {
      onsets += (f & ONSET) != 0;
      held += (f & HELD) != 0;
      turns += int(f >> TURNS & 31u);
    }
  }
  if (lane_id() < N_COUNTS) s.counts[lane_id()] = mine;
  if (!W::STREAM) return;
  onsets = warp_sum(onsets), held = warp_sum(held), turns = warp_sum(turns);
  if (lane_id() == 0) s.onsets = onsets, s.held = held, s.turns[0] = turns;
}

// While something is held: deviation of the width, slope of the grip force, over S.
template <class W>
HW_FN void hold(const W& w, Scratch& s) {
  using namespace spec;
  const int m = w.m, n = m < w.p.shorter ? m : w.p.shorter, from = m - n;
  const auto w0 = w.at(c_width, m - 1), g0 = w.at(c_grip, m - 1);
  float sum = 0, tilt = 0, sq = 0;
  for (int i = lane_id(); i < n; i += 32) {
    sum += minus(w.at(c_width, from + i), w0);
    tilt = fmaf(float(2 * i - (n - 1)), minus(w.at(c_grip, from + i), g0), tilt);
  }
  const float off = float(warp_sum(double(sum)) / n);
  const double turned = warp_sum(double(tilt));
  for (int i = lane_id(); i < n; i += 32) sq += square(minus(w.at(c_width, from + i), w0) - off);
  sq = warp_sum(sq);
  if (lane_id()) return;
  s.f[f_hold_std] = 100.0f * sqrtf(sq / n);
  s.f[f_force_decay] = float(turned * slope_gain(n, w.p.rate));
}

// Central moments of one axis of F: skewness of Fx and Fy, excess kurtosis of Fz; its mean stays.
template <class W>
HW_FN void moments(const W& w, int axis, Scratch& s) {
  using namespace spec;
  const int m = w.m;
  const auto x0 = w.F(axis, m - 1);
  float sum = 0, m2 = 0, m3 = 0, m4 = 0;
  for (int i = lane_id(); i < m; i += 32) sum += minus(w.F(axis, i), x0);
  const float off = float(warp_sum(double(sum)) / m);
  for (int i = lane_id(); i < m; i += 32) {
    const float d = minus(w.F(axis, i), x0) - off, d2 = d * d;
    m2 += d2;
    m3 = fmaf(d2, d, m3);
    m4 = fmaf(d2, d2, m4);
  }
  const double a = warp_sum(double(m2)) / m, b = warp_sum(double(m3)) / m;
  const double c = warp_sum(double(m4)) / m, floor = a + moment_floor;
  if (lane_id()) return;
  s.offset[axis] = off;
  if (axis == 2)
    s.f[f_kurt_fz] = float((c - 3.0 * a * a) / (floor * floor));
  else
    s.f[axis ? f_skew_fy : f_skew_fx] = float(b / (floor * sqrt(floor)));
}

template <class W>
HW_FN float windowed(const W& w, const Shared& sh, int axis, int i) {
  if (i >= w.m) return 0.0f;
  const float d = minus(w.F(axis, i), w.F(axis, w.m - 1)) - sh.s->offset[axis];
  return d * hann(sh.table, w.p.longer - w.m + i);
}

// All threads: F, mean out, Hann, folded about L / 2, so that cosines and sines need half the ticks.
// That the window starts at 0 and not at L - m turns phases only.
template <class W>
HW_FN void fold(const W& w, const Shared& sh) {
  const int L = w.p.longer, half = L / 2;
  for (int i = int(threadIdx.x); i <= half; i += int(blockDim.x)) {
    float even[3], odd[3];
    for (int a = 0; a < 3; ++a) {
      const float x = windowed(w, sh, a, i);
      const float y = i == 0 || 2 * i == L ? 0.0f : windowed(w, sh, a, L - i);
      even[a] = x + y;
      odd[a] = i == 0 || 2 * i == L ? 0.0f : x - y;
    }
    sh.fold[2 * i] = {even[0], even[1], even[2], 0.0f};
    sh.fold[2 * i + 1] = {odd[0], odd[1], odd[2], 0.0f};
  }
}

// 32 bins of F's spectrum by the definition, one per lane.
template <class W>
HW_FN void force_bins(const W& w, const Shared& sh, int group) {
  const auto& p = w.p;
  const int L = p.longer, k = 1 + 32 * group + lane_id(), half = L / 2;
  const bool real = k <= half;
  const Vec2 step = sh.table[real ? k : 0];
  float re[3] = {0, 0, 0}, im[3] = {0, 0, 0};
  for (int base = 0, at = 0; base <= half; base += 16) {
    Vec2 z = sh.table[real ? at : 0];  // afresh every 16 ticks: the rotation's error stays small
    const int stop = base + 16 <= half + 1 ? base + 16 : half + 1;
    for (int i = base; i < stop; ++i) {
      const Vec4 e = sh.fold[2 * i], o = sh.fold[2 * i + 1];
      re[0] = fmaf(e.x, z.x, re[0]);
      re[1] = fmaf(e.y, z.x, re[1]);
      re[2] = fmaf(e.z, z.x, re[2]);
      im[0] = fmaf(o.x, z.y, im[0]);
      im[1] = fmaf(o.y, z.y, im[1]);
      im[2] = fmaf(o.z, z.y, im[2]);
      const float c = fmaf(z.x, step.x, -z.y * step.y);
      z.y = fmaf(z.x, step.y, z.y * step.x);
      z.x = c;
    }
    at = (at + 16 * k) % L;
  }
  float power = 0;
  for (int a = 0; a < 3; ++a) power += re[a] * re[a] + im[a] * im[a];
  power = real ? power * (2 * k == L ? 1.0f : 2.0f) / (float(L) * float(L)) : 0.0f;
  const float all = warp_sum(power), low = warp_sum(k <= p.k_low ? power : 0.0f);
  const float band = warp_sum(k >= p.k_lo && k <= p.k_hi ? power : 0.0f);
  const float hz = warp_sum(power * float(k));
  if (lane_id()) return;
  sh.s->force_all[group] = all;
  sh.s->force_low[group] = low;
  sh.s->force_band[group] = band;
  sh.s->force_hz[group] = hz;
}

// Energy of one joint's dq, mean out, Hann: all of it by Parseval, and up to 20 Hz bin by bin.
template <class W>
HW_FN void joint_energy(const W& w, const Shared& sh, int j) {
  const auto& p = w.p;
  const int m = w.m, L = p.longer;
  const auto x0 = w.joint(j, m - 1);
  float sum = 0, energy = 0, dc = 0;
  for (int i = lane_id(); i < m; i += 32) sum += minus(w.joint(j, i), x0);
  const float off = float(warp_sum(double(sum)) / m);
  float re[LOW_BINS] = {}, im[LOW_BINS] = {};
  for (int i = lane_id(); i < m; i += 32) {
    const float y = (minus(w.joint(j, i), x0) - off) * hann(sh.table, L - m + i);
    const Vec2 turn = sh.table[i];
    Vec2 z = turn;
    energy = fmaf(y, y, energy);
    dc += y;
HW_UNROLL
    for (int k = 0; k < LOW_BINS; ++k) {
      re[k] = fmaf(y, z.x, re[k]);
      im[k] = fmaf(y, z.y, im[k]);
      const float c = fmaf(z.x, turn.x, -z.y * turn.y);
      z.y = fmaf(z.x, turn.y, z.y * turn.x);
      z.x = c;
    }
  }
  energy = warp_sum(energy);
  dc = warp_sum(dc);
  float low = 0;
HW_UNROLL
  for (int k = 0; k < LOW_BINS; ++k) {
    const float a = warp_sum(re[k]), b = warp_sum(im[k]);
    const float weight = k + 1 > p.k_motion ? 0.0f : 2 * (k + 1) >= L ? 1.0f : 2.0f;
    low = fmaf(weight, a * a + b * b, low);
  }
  if (lane_id()) return;
  const float by = 1.0f / (float(L) * float(L));
  sh.s->joint_all[j] = energy / float(L) - dc * dc * by;
  sh.s->joint_low[j] = low * by;
}

// Spectral arc length of the speed over six bins (Balasubramanian et al. 2015).
template <class W>
HW_FN void sparc(const W& w, const Shared& sh) {
  using namespace spec;
  constexpr int BINS = int(sparc_bins);
  const int L = w.p.longer;
  float re[BINS] = {}, im[BINS] = {};
  for (int i = lane_id(); i < w.m; i += 32) {
    const float x = value(w.at(c_v, i));
    const Vec2 turn = sh.table[i];
    Vec2 z = {1.0f, 0.0f};
HW_UNROLL
    for (int k = 0; k < BINS; ++k) {
      re[k] = fmaf(x, z.x, re[k]);
      im[k] = fmaf(x, z.y, im[k]);
      const float c = fmaf(z.x, turn.x, -z.y * turn.y);
      z.y = fmaf(z.x, turn.y, z.y * turn.x);
      z.x = c;
    }
  }
  double before = 0, first = 1, arc = 0;
HW_UNROLL
  for (int k = 0; k < BINS; ++k) {
    const double a = warp_sum(double(re[k])), b = warp_sum(double(im[k]));
    const double size = sqrt(a * a + b * b) / L * w.p.v_max;
    if (k == 0) {
      first = size + sparc_floor;
    } else {
      const double step = (size - before) / first, width = 1.0 / (BINS - 1);
      arc += sqrt(width * width + step * step);
    }
    before = size;
  }
  if (lane_id() == 0) sh.s->f[f_sparc] = float(-arc);
}

HW_FN int window_tasks(const Params& p) { return N_STATS + 4 + p.joints + (p.longer / 2 + 31) / 32; }

// Task `n` of `window_tasks`, the long ones first.
template <class W>
HW_FN void window_task(const W& w, const Shared& sh, int n) {
  const int J = w.p.joints, bins = (w.p.longer / 2 + 31) / 32;
  if (n < bins) return force_bins(w, sh, n);
  n -= bins;
  if (n < J) return joint_energy(w, sh, n);
  n -= J;
  if (n < N_STATS) return stats_of(w, n, sh.s->f);
  n -= N_STATS;
  if (n == 0) sparc(w, sh);
  if (n == 1) others(w, *sh.s);
  if (n == 2) counts(w, *sh.s);
  if (n == 3) hold(w, *sh.s);
}

}  // namespace headway::gpu
