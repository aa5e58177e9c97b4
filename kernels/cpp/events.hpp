// The state machines of kernels/events.py, line for line: contacts, grasps, retries, phases.
// O(1) per tick, no allocation. Lengths in strokes, heights in m, forces in N, powers in W.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include "spec.hpp"

namespace headway {

inline constexpr long long NEVER = 1LL << 60;

struct Contact {
  double dt, load_gain;
  bool on = false;
  long long age = NEVER;
  double peak = 0, impulse = 0, work_neg = 0, work_pos = 0;
  double load = -1;  // low-passed |F|; < 0: none yet

  explicit Contact(double dt) : dt(dt), load_gain(1.0 - std::exp(-dt / spec::load_tau_s)) {}

  bool step(bool valid, double force, double power) {
    ++age;
    if (!valid) return false;
    load = load < 0 ? force : load + load_gain * (force - load);
    const bool onset = !on && force >= spec::contact_on;
    if (onset) {
      on = true;
      age = 0;
      peak = impulse = work_neg = work_pos = 0;
    } else if (on && force <= spec::contact_off) {
      on = false;
    }
    if (on) {
      peak = std::max(peak, force);
      impulse += force * dt;
      (power < 0 ? work_neg : work_pos) += std::fabs(power) * dt;
    }
    return onset;
  }
};

struct Grasp {
  enum State { OPEN, CLOSING, HOLDING, EMPTY };
  double settle, settle_min;
  State state = OPEN;
  // extreme of width_ref since the last close or open; NaN: none yet
  double turn = std::numeric_limits<double>::quiet_NaN();
  double rest = 0;  // the width that the jaws are at, for `quiet` ticks
  long long quiet = 0, age = NEVER;
  int closes = 0, recloses = 0;
  bool dropped = false, lifted = false;
  double width = 0, z = 0, load = 0;

  explicit Grasp(double dt) : settle(spec::settle_s / dt), settle_min(spec::settle_min_s / dt) {}

  bool step(bool valid, double w, double ref) {
    ++age;
    if (!valid) return state == HOLDING;
    if (std::isnan(turn)) turn = ref;
    if (state == OPEN) {
      turn = std::max(turn, ref);
      if (ref <= turn - spec::close_travel) {
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
    turn = std::min(turn, ref);
    if (ref >= turn + spec::close_travel) {
      state = OPEN;
      turn = ref;
      dropped = false;
      return false;
    }
    const double gap = w - ref;
    if (state == CLOSING) {
      ++quiet;
      if (std::fabs(w - rest) > spec::settle_travel) {
        rest = w;
        quiet = 0;
      }
      if (double(age) >= settle_min && double(quiet) >= settle) {
        state = gap > spec::hold_gap ? HOLDING : EMPTY;
        width = w;
        z = std::numeric_limits<double>::quiet_NaN();
      }
    } else if (state == HOLDING && gap < spec::drop_gap && w < width - spec::drop_gap) {
      state = CLOSING;
      dropped = true;
      rest = w;
      quiet = 0;
    }
    return state == HOLDING;
  }

  void lift(bool valid, double height, double now) {
    if (state != HOLDING || !valid || lifted) return;
    if (std::isnan(z)) {
      z = height;
    } else if (height - z > spec::lift_m) {
      lifted = true;
      load = now;
    }
  }
};

struct Task {
  double forget;
  double phase = -1;
  long long phase_age = 0, retry_age = NEVER, operator_age = NEVER;
  double retries = 0, retries_before = 0, ewma = 0;
  bool retries_known = false, vacuum = false;

  explicit Task(double dt) : forget(std::exp(-dt / spec::retry_tau_s)) {}

  void step_phase(bool valid, double now) {
    ++phase_age;
    if (valid && now != phase) {
      phase = now;
      phase_age = 0;
      retries_before = retries;
    }
  }

  void step_retries(bool valid, double now) {
    ++retry_age;
    ewma *= forget;
    if (!valid) return;
    const double more = retries_known ? now - retries : 0.0;
    if (more > 0) {
      retry_age = 0;
      ewma += more;
    }
    if (!retries_known) retries_before = now;
    retries = now;
    retries_known = true;
  }

  void step_flags(bool op_valid, double op, bool vac_valid, double vac) {
    ++operator_age;
    if (op_valid && op > 0.5) operator_age = 0;
    if (vac_valid) vacuum = vac > (vacuum ? spec::vacuum_off : spec::vacuum_on);
  }
};

}  // namespace headway
