// The twin of edge/guard/reasons.py: see there for what each member means. Python gets a finding as
// the `Finding` of that file, made in one place: PyGuard::record in module.cpp.
#pragma once
#include <limits>
#include <optional>

namespace headway {

// Those that the compiled core finds; numbers as in edge/guard/reasons.py.
enum Reason {
  OK = 0, NOT_FINITE = 3, POSITION = 7, VELOCITY, ACCELERATION, JERK, WORKSPACE, COLLISION = 21
};

struct Motion {
  double q, dq, ddq, ddq_before;
};

struct Finding {
  static constexpr double INF = std::numeric_limits<double>::infinity();
  static constexpr double NONE = std::numeric_limits<double>::quiet_NaN();

  Reason reason = OK;
  int index = -1;
  bool stopping = false;
  double found = NONE, least = -INF, most = INF;
  std::optional<Motion> motion{};
};

}  // namespace headway
