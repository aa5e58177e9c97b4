// The twin of edge/guard/collision.py, operation for operation: see there for what it does and why.
// Nothing is allocated after construction.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "../../../drivers/cpp/kinematics.hpp"
#include "reasons.hpp"

namespace headway {

struct Point {
  double x, y, z;
  double operator[](int i) const { return i == 0 ? x : i == 1 ? y : z; }
};

struct Segment {
  Point a, b;
};

struct Capsule {
  int frame;
  Segment at;
};

struct Pair {
  enum Kind { SEGMENT, BOX, FLOOR } kind;
  int first, second;
  double radius, apart;  // [m], [m^2]
};

struct Scene {
  std::vector<Capsule> capsules;
  std::vector<Segment> fixed, boxes;
  double floor, margin;
  std::vector<Pair> pairs;
};

inline constexpr double TINY = 1e-12;

inline double unit(double x) { return x < 0.0 ? 0.0 : x > 1.0 ? 1.0 : x; }

inline Point middle(const Segment& s) {
  return {0.5 * (s.a.x + s.b.x), 0.5 * (s.a.y + s.b.y), 0.5 * (s.a.z + s.b.z)};
}

inline Point placed(const Frame& f, const Point& p) {
  return {f.p[0] + f.r[0] * p.x + f.r[1] * p.y + f.r[2] * p.z,
          f.p[1] + f.r[3] * p.x + f.r[4] * p.y + f.r[5] * p.z,
          f.p[2] + f.r[6] * p.x + f.r[7] * p.y + f.r[8] * p.z};
}

inline double segments_apart(const Segment& one, const Segment& two) {
  const Point &p1 = one.a, &q1 = one.b, &p2 = two.a, &q2 = two.b;
  const double ux = q1.x - p1.x, uy = q1.y - p1.y, uz = q1.z - p1.z;
  const double vx = q2.x - p2.x, vy = q2.y - p2.y, vz = q2.z - p2.z;
  const double rx = p1.x - p2.x, ry = p1.y - p2.y, rz = p1.z - p2.z;
  const double a = ux * ux + uy * uy + uz * uz, e = vx * vx + vy * vy + vz * vz;
  const double f = vx * rx + vy * ry + vz * rz, c = ux * rx + uy * ry + uz * rz;
  double s, t;
  if (a <= TINY) {
    s = 0.0;
    t = e <= TINY ? 0.0 : unit(f / e);
  } else if (e <= TINY) {
    s = unit(-c / a);
    t = 0.0;
  } else {
    const double b = ux * vx + uy * vy + uz * vz;
    const double denominator = a * e - b * b;
    s = denominator > 0.0 ? unit((b * f - c * e) / denominator) : 0.0;
    t = (b * s + f) / e;
    if (t < 0.0) {
      s = unit(-c / a);
      t = 0.0;
    } else if (t > 1.0) {
      s = unit((b - c) / a);
      t = 1.0;
    }
  }
  const double dx = rx + ux * s - vx * t, dy = ry + uy * s - vy * t, dz = rz + uz * s - vz * t;
  return dx * dx + dy * dy + dz * dz;
}

inline double beyond(double x, double lo, double hi) {
  return x < lo ? x - lo : x > hi ? x - hi : 0.0;
}

inline double slope(double t, const Point& p, const Point& u, const Segment& box) {
  double total = 0.0;
  for (int i = 0; i < 3; ++i) total += beyond(p[i] + u[i] * t, box.a[i], box.b[i]) * u[i];
  return total;
}

inline double box_point(double t, const Point& p, const Point& u, const Segment& box) {
  double total = 0.0;
  for (int i = 0; i < 3; ++i) {
    const double out = beyond(p[i] + u[i] * t, box.a[i], box.b[i]);
    total += out * out;
  }
  return total;
}

inline double box_apart(const Segment& s, const Segment& box) {
  const Point& p = s.a;
  const Point u{s.b.x - p.x, s.b.y - p.y, s.b.z - p.z};
  double lo = 0.0, hi = 1.0, slope_lo = slope(lo, p, u, box);
  if (slope_lo >= 0.0) return box_point(lo, p, u, box);
  double slope_hi = slope(hi, p, u, box);
  if (slope_hi <= 0.0) return box_point(hi, p, u, box);
  for (int axis = 0; axis < 3; ++axis)
    for (const Point* corner : {&box.a, &box.b}) {
      if (u[axis] == 0.0) continue;
      const double t = ((*corner)[axis] - p[axis]) / u[axis];
      if (lo < t && t < hi) {
        const double here = slope(t, p, u, box);
        if (here <= 0.0) {
          lo = t;
          slope_lo = here;
        } else {
          hi = t;
          slope_hi = here;
        }
      }
    }
  const double rise = slope_hi - slope_lo;
  const double t = rise > 0.0 ? lo - slope_lo * (hi - lo) / rise : lo;
  return box_point(t, p, u, box);
}

class Collisions {
 public:
  std::vector<double> found;  // [m] of every pair, at the last look

  explicit Collisions(Scene given)
      : found(given.pairs.size()), scene_(std::move(given)), allowed_(found.size()),
        segments_(scene_.capsules.size()), centres_(), boxes_() {
    segments_.insert(segments_.end(), scene_.fixed.begin(), scene_.fixed.end());
    centres_.resize(segments_.size());
    for (std::size_t i = 0; i < segments_.size(); ++i) centres_[i] = middle(segments_[i]);
    for (const auto& box : scene_.boxes) boxes_.push_back(middle(box));
  }

  std::size_t pairs() const { return found.size(); }

  void start(const Frame* frames) {
    distances(frames);
    for (std::size_t k = 0; k < pairs(); ++k) allowed_[k] = std::min(scene_.margin, found[k]);
  }

  Finding look(const Frame* frames, bool stopping) {
    distances(frames);
    for (std::size_t k = 0; k < pairs(); ++k)
      if (!(found[k] >= allowed_[k]))
        return {COLLISION, static_cast<int>(k), stopping, found[k], allowed_[k]};
    return {};
  }

  void accept(const std::vector<double>& at) {
    for (std::size_t k = 0; k < pairs(); ++k)
      allowed_[k] = std::min(scene_.margin, std::max(allowed_[k], at[k]));
  }

 private:
  void distances(const Frame* frames) {
    for (std::size_t i = 0; i < scene_.capsules.size(); ++i) {
      const Capsule& c = scene_.capsules[i];
      segments_[i] = {placed(frames[c.frame], c.at.a), placed(frames[c.frame], c.at.b)};
      centres_[i] = middle(segments_[i]);
    }
    for (std::size_t k = 0; k < pairs(); ++k) found[k] = distance(scene_.pairs[k]);
  }

  double distance(const Pair& p) const {
    const Segment& s = segments_[p.first];
    if (p.kind == Pair::FLOOR)
      return std::min(scene_.margin,
                      (s.b.z < s.a.z ? s.b.z : s.a.z) - scene_.floor - p.radius);
    const Point& c = centres_[p.first];
    const Point& d = p.kind == Pair::SEGMENT ? centres_[p.second] : boxes_[p.second];
    const double dx = c.x - d.x, dy = c.y - d.y, dz = c.z - d.z;
    if (dx * dx + dy * dy + dz * dz > p.apart) return scene_.margin;
    const double squared = p.kind == Pair::SEGMENT ? segments_apart(s, segments_[p.second])
                                                   : box_apart(s, scene_.boxes[p.second]);
    return std::sqrt(squared) - p.radius;
  }

  Scene scene_;
  std::vector<double> allowed_;
  std::vector<Segment> segments_;
  std::vector<Point> centres_, boxes_;
};

}  // namespace headway
