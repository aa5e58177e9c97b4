// The state machines of kernels/events.py: contacts, grasps, retries, phases. R is float for a
// window, double for a stream. Widths stay in metres, so that float decides as the oracle's
// doubles do: `far` sends the comparison to doubles where float is too near to tell.
#pragma once
#include "portable.cuh"

namespace headway::gpu {

inline constexpr int NEVER = 1 << 30;

HW_FN int older(int age) { return age < NEVER ? age + 1 : age; }

// The largest float that is not above x: v > x for a float v exactly when v > floor_float(x).
HW_FN constexpr float floor_float(double x) {
  const float f = float(x);
  return double(f) > x ? f - f * 6e-8f : f;
}

// A sum whose rounding errors are kept (Dekker 1971): impulses grow for minutes.
template <class R>
struct Sum {
  R hi, lo;
  HW_FN void set(R x) { hi = x, lo = 0; }
  HW_FN void add(R x) {
    const R y = lo + x, s = hi + y;
    lo = fabs(hi) >= fabs(y) ? y - (s - hi) : hi - (s - y);
    hi = s;
  }
  HW_FN R value() const { return hi + lo; }
};

// Low-passed |F|; hi < 0: none yet.
template <class R>
struct Load {
  Sum<R> f;
  HW_FN void clear() { f.set(-1); }
  HW_FN void step(R force, R gain) {
    if (f.hi < 0)
      f.set(force);
    else
      f.add(gain * ((force - f.hi) - f.lo));
  }
};

template <class R>
struct Contact {
  Load<R> load;
  Sum<R> impulse, work_neg, work_pos;
  R peak;
  int age;
  bool on;

  HW_FN void clear() {
    load.clear();
    restart();
    on = false;
    age = NEVER;
  }
  HW_FN void restart() {
    peak = 0;
    impulse.set(0), work_neg.set(0), work_pos.set(0);
  }
  // `above`: |F| >= contact_on, `below`: |F| <= contact_off; true at an onset
  HW_FN bool step(bool valid, R force, R power, bool above, bool below, R gain, R dt) {
    age = older(age);
    if (!valid) return false;
    load.step(force, gain);
    const bool onset = !on && above;
    if (onset) {
      on = true;
      age = 0;
      restart();
    } else if (on && below) {
      on = false;
    }
    if (on) {
      peak = force > peak ? force : peak;
      impulse.add(force * dt);
      (power < 0 ? work_neg : work_pos).add((power < 0 ? -power : power) * dt);
    }
    return onset;
  }
};

enum GraspState : int { OPEN, CLOSING, HOLDING, EMPTY };

template <class R>
struct Grasp {
  R turn, rest, width, z, load;  // turn NaN: no width_ref yet
  int state, quiet, age, closes, recloses;
  bool dropped, lifted, seen;

  HW_FN void clear() {
    turn = R(NAN);
    rest = width = z = load = 0;
    state = OPEN;
    quiet = closes = recloses = 0;
    age = NEVER;
    dropped = lifted = seen = false;
  }

  // Widths [m]. True while something is held.
  HW_FN bool step(bool valid, R w, R ref, const Params& p) {
    using namespace spec;
    const double s = p.stroke;
    age = older(age);
    if (!valid) return state == HOLDING;
    if (turn != turn) turn = ref;
    if (state == OPEN) {
      turn = ref > turn ? ref : turn;
      if (falls(ref, turn, close_travel, s)) {
        recloses += closes > 0 && !lifted;
        ++closes;
        state = CLOSING;
        age = quiet = 0;
        turn = ref;
        rest = w;
        dropped = lifted = false;
      }
      return false;
    }
    turn = ref < turn ? ref : turn;
    if (rises(ref, turn, close_travel, s)) {
      state = OPEN;
      turn = ref;
      dropped = false;
      return false;
    }
    if (state == CLOSING) {
      ++quiet;
      if (exceeds(w, rest, settle_travel, s) || exceeds(rest, w, settle_travel, s)) {
        rest = w;
        quiet = 0;
      }
      if (age >= p.settle_min && quiet >= p.settle) {
        state = exceeds(w, ref, hold_gap, s) ? HOLDING : EMPTY;
        width = w;
        seen = false;
      }
    } else if (state == HOLDING && below(w, ref, drop_gap, s) && sinks(w, width, s)) {
      state = CLOSING;
      dropped = true;
      rest = w;
      quiet = 0;
    }
    return state == HOLDING;
  }

  HW_FN void lift(bool valid, R height, R now) {
    if (state != HOLDING || !valid || lifted) return;
    if (!seen) {
      z = height;
      seen = true;
    } else if (double(height) - double(z) > spec::lift_m) {
      lifted = true;
      load = now;
    }
  }

 private:
  static HW_FN bool far(R gap, R a, R b, double s) {
    return sizeof(R) == sizeof(float) && fabs(gap) > R(1e-5) * (fabs(a) + fabs(b) + R(s));
  }
  // ref <= turn - travel
  static HW_FN bool falls(R ref, R top, double c, double s) {
    const R gap = (top - ref) - R(c * s);
    return far(gap, ref, top, s) ? gap > 0 : double(ref) / s <= double(top) / s - c;
  }
  static HW_FN bool rises(R ref, R low, double c, double s) {
    const R gap = (ref - low) - R(c * s);
    return far(gap, ref, low, s) ? gap > 0 : double(ref) / s >= double(low) / s + c;
  }
  static HW_FN bool exceeds(R w, R ref, double c, double s) {
    const R gap = (w - ref) - R(c * s);
    return far(gap, w, ref, s) ? gap > 0 : double(w) / s - double(ref) / s > c;
  }
  static HW_FN bool below(R w, R ref, double c, double s) {
    const R gap = (w - ref) - R(c * s);
    return far(gap, w, ref, s) ? gap < 0 : double(w) / s - double(ref) / s < c;
  }
  static HW_FN bool sinks(R w, R held, double s) {
    const R gap = (held - w) - R(spec::drop_gap * s);
    return far(gap, w, held, s) ? gap > 0 : double(w) / s < double(held) / s - spec::drop_gap;
  }
};

template <class R>
struct Task {
  R phase, retries, retries_before;
  double ewma;  // as of `ewma_age` ticks ago
  int phase_age, retry_age, operator_age, ewma_age;
  bool known, vacuum;

  HW_FN void clear() {
    phase = -1;
    retries = retries_before = 0;
    ewma = 0;
    phase_age = ewma_age = 0;
    retry_age = operator_age = NEVER;
    known = vacuum = false;
  }

  HW_FN void step_phase(bool valid, R now) {
    phase_age = older(phase_age);
    if (valid && now != phase) {
      phase = now;
      phase_age = 0;
      retries_before = retries;
    }
  }

  HW_FN double forgotten(double rate) const {
    return ewma == 0 ? 0.0 : ewma * exp(-ewma_age / rate / spec::retry_tau_s);
  }

  HW_FN void step_retries(bool valid, R now, double rate) {
    retry_age = older(retry_age);
    ewma_age = older(ewma_age);
    if (!valid) return;
    if (known && now > retries) {
      ewma = forgotten(rate) + (double(now) - double(retries));
      retry_age = ewma_age = 0;
    }
    if (!known) retries_before = now;
    retries = now;
    known = true;
  }

  HW_FN void step_flags(bool op_valid, R op, bool vac_valid, R vac) {
    operator_age = older(operator_age);
    if (op_valid && op > R(0.5)) operator_age = 0;
    if (!vac_valid) return;
    if (sizeof(R) == sizeof(float))
      vacuum = vac > (vacuum ? R(floor_float(spec::vacuum_off)) : R(floor_float(spec::vacuum_on)));
    else
      vacuum = vac > (vacuum ? R(spec::vacuum_off) : R(spec::vacuum_on));
  }
};

}  // namespace headway::gpu
