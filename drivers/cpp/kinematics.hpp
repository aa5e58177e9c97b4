// The C++ twin of drivers/kinematics_python.py: rotations and serial chains; see there and in
// drivers/kinematics.py for what is computed and why. Plain C++17, no Python; everything lies on the
// stack, so that a chain may be used from several threads at once. Lengths in m, angles in rad,
// quaternions wxyz, matrices row-major. Forward kinematics repeats the Python operations in their
// order; compile without fused multiply-add and it agrees to the last bit where the C library is the
// same.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace headway {

inline constexpr int MAX_JOINTS = 16;  // and as many steps

struct Frame {
  double r[9];  // rotation
  double p[3];  // origin
};

inline void mat_to_quat(const double* m, double* q) {
  const double trace = m[0] + m[4] + m[8];
  if (trace > 0) {
    const double s = 2 * std::sqrt(trace + 1);
    q[0] = s / 4, q[1] = (m[7] - m[5]) / s, q[2] = (m[2] - m[6]) / s, q[3] = (m[3] - m[1]) / s;
  } else if (m[0] > m[4] && m[0] > m[8]) {
    const double s = 2 * std::sqrt(1 + m[0] - m[4] - m[8]);
    q[0] = (m[7] - m[5]) / s, q[1] = s / 4, q[2] = (m[1] + m[3]) / s, q[3] = (m[2] + m[6]) / s;
  } else if (m[4] > m[8]) {
    const double s = 2 * std::sqrt(1 + m[4] - m[0] - m[8]);
    q[0] = (m[2] - m[6]) / s, q[1] = (m[1] + m[3]) / s, q[2] = s / 4, q[3] = (m[5] + m[7]) / s;
  } else {
    const double s = 2 * std::sqrt(1 + m[8] - m[0] - m[4]);
    q[0] = (m[3] - m[1]) / s, q[1] = (m[2] + m[6]) / s, q[2] = (m[5] + m[7]) / s, q[3] = s / 4;
  }
  if (!(q[0] >= 0))
    for (int i = 0; i < 4; ++i) q[i] = -q[i];
}

inline void rotvec_to_mat(const double* r, double* R) {
  const double angle = std::sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
  if (angle < 1e-12) {
    for (int i = 0; i < 9; ++i) R[i] = i % 4 == 0;
    return;
  }
  const double x = r[0] / angle, y = r[1] / angle, z = r[2] / angle;
  const double s = std::sin(angle), c = 1 - std::cos(angle);
  // I + s K + c K^2
  R[0] = 1 - c * (y * y + z * z), R[1] = c * x * y - s * z, R[2] = c * x * z + s * y;
  R[3] = c * x * y + s * z, R[4] = 1 - c * (x * x + z * z), R[5] = c * y * z - s * x;
  R[6] = c * x * z - s * y, R[7] = c * y * z + s * x, R[8] = 1 - c * (x * x + y * y);
}

inline void mat_to_rotvec(const double* R, double* r) {
  double q[4];
  mat_to_quat(R, q);
  const double s = std::sqrt(q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  const double k = s < 1e-12 ? 0.0 : 2 * std::atan2(s, q[0]) / s;
  for (int i = 0; i < 3; ++i) r[i] = k * q[i + 1];
}

// C = A B, or A B^T
inline void multiply(const double* A, const double* B, double* C) {
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j)
      C[3 * i + j] = A[3 * i] * B[j] + A[3 * i + 1] * B[3 + j] + A[3 * i + 2] * B[6 + j];
}
inline void multiply_transposed(const double* A, const double* B, double* C) {
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j)
      C[3 * i + j] = A[3 * i] * B[3 * j] + A[3 * i + 1] * B[3 * j + 1] + A[3 * i + 2] * B[3 * j + 2];
}

// C = A^T B for a matrix A (3, 3) and B (3, n) of which the rows lie `n` numbers apart
inline void turn_rows(const double* A, const double* B, int n, double* C) {
  for (int i = 0; i < 3; ++i)
    for (int k = 0; k < n; ++k)
      C[i * n + k] = A[i] * B[k] + A[3 + i] * B[n + k] + A[6 + i] * B[2 * n + k];
}

// x := A^-1 x for a symmetric positive definite A, the upper left (n, n) of a (6, 6), by Cholesky;
// A is overwritten.
inline void solve(double (*A)[6], double* x, int n) {
  for (int j = 0; j < n; ++j) {
    for (int k = 0; k < j; ++k) A[j][j] -= A[j][k] * A[j][k];
    A[j][j] = std::sqrt(A[j][j]);
    for (int i = j + 1; i < n; ++i) {
      for (int k = 0; k < j; ++k) A[i][j] -= A[i][k] * A[j][k];
      A[i][j] /= A[j][j];
    }
  }
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < i; ++k) x[i] -= A[i][k] * x[k];
    x[i] /= A[i][i];
  }
  for (int i = n - 1; i >= 0; --i) {
    for (int k = i + 1; k < n; ++k) x[i] -= A[k][i] * x[k];
    x[i] /= A[i][i];
  }
}

struct Step {  // a fixed transform, then a turn about z by multiplier * q[joint] + offset
  Frame fixed;
  int joint;
  double multiplier, offset;
};

struct Range {  // of a joint [rad]; a posture of NaN means none
  double lo, hi, posture;
};

struct Search {  // how inverse kinematics looks for its answer, see kinematics.Chain.ik
  int iterations;
  double tol, damping, max_step;
};

inline constexpr double PULL = 0.1, PULL_FROM = 0.02;  // see drivers/kinematics_python.py

struct Chain {
  std::vector<Step> steps;    // 1 to MAX_JOINTS
  std::vector<Range> joints;  // 1 to MAX_JOINTS
  Frame tool;                 // the TCP in the last frame
  double weights[6];          // of inverse kinematics
  int axes;                   // the frame in whose axes they are, -1 for the TCP's

  int n() const { return static_cast<int>(joints.size()); }
  int last() const { return static_cast<int>(steps.size()); }  // number of the last frame

  // Frames 0..last(): the base's, then the one behind each step, which turns about z of that frame.
  void frames(const double* q, Frame* out) const {
    double r00 = 1.0, r01 = 0.0, r02 = 0.0;
    double r10 = 0.0, r11 = 1.0, r12 = 0.0;
    double r20 = 0.0, r21 = 0.0, r22 = 1.0;
    double px = 0.0, py = 0.0, pz = 0.0;
    *out++ = {{r00, r01, r02, r10, r11, r12, r20, r21, r22}, {px, py, pz}};
    for (const Step& step : steps) {
      const auto& [f, o] = step.fixed;
      px += r00 * o[0] + r01 * o[1] + r02 * o[2];
      py += r10 * o[0] + r11 * o[1] + r12 * o[2];
      pz += r20 * o[0] + r21 * o[1] + r22 * o[2];
      const double x0 = r00 * f[0] + r01 * f[3] + r02 * f[6];
      const double x1 = r10 * f[0] + r11 * f[3] + r12 * f[6];
      const double x2 = r20 * f[0] + r21 * f[3] + r22 * f[6];
      const double y0 = r00 * f[1] + r01 * f[4] + r02 * f[7];
      const double y1 = r10 * f[1] + r11 * f[4] + r12 * f[7];
      const double y2 = r20 * f[1] + r21 * f[4] + r22 * f[7];
      const double z0 = r00 * f[2] + r01 * f[5] + r02 * f[8];
      const double z1 = r10 * f[2] + r11 * f[5] + r12 * f[8];
      const double z2 = r20 * f[2] + r21 * f[5] + r22 * f[8];
      const double angle = step.multiplier * q[step.joint] + step.offset;
      const double c = std::cos(angle), s = std::sin(angle);
      r00 = x0 * c + y0 * s, r01 = y0 * c - x0 * s, r02 = z0;
      r10 = x1 * c + y1 * s, r11 = y1 * c - x1 * s, r12 = z1;
      r20 = x2 * c + y2 * s, r21 = y2 * c - x2 * s, r22 = z2;
      *out++ = {{r00, r01, r02, r10, r11, r12, r20, r21, r22}, {px, py, pz}};
    }
  }

  void tcp_position(const Frame& end, double* p) const {
    const auto& [r, o] = end;
    const double *t = tool.p;
    p[0] = o[0] + r[0] * t[0] + r[1] * t[1] + r[2] * t[2];
    p[1] = o[1] + r[3] * t[0] + r[4] * t[1] + r[5] * t[2];
    p[2] = o[2] + r[6] * t[0] + r[7] * t[1] + r[8] * t[2];
  }

  void tcp(const Frame& end, double* R, double* p) const {
    multiply(end.r, tool.r, R);
    tcp_position(end, p);
  }

  void fk(const double* q, double* R, double* p) const {
    Frame f[MAX_JOINTS + 1];
    frames(q, f);
    tcp(f[last()], R, p);
  }

  // TCP position and quaternion wxyz
  void pose(const double* q, double* p, double* quat) const {
    double R[9];
    fk(q, R, p);
    mat_to_quat(R, quat);
  }

  // J (6, n): rows v, then w. The frames stay in `f`.
  void state(const double* q, double* R, double* p, double* J, Frame* f) const {
    frames(q, f);
    const int n = this->n();
    tcp(f[last()], R, p);
    std::fill_n(J, 6 * n, 0.0);
    for (const Step& step : steps) {
      ++f;
      const double zx = f->r[2], zy = f->r[5], zz = f->r[8];
      const double rx = p[0] - f->p[0], ry = p[1] - f->p[1], rz = p[2] - f->p[2];
      const double by = step.multiplier;
      double* column = J + step.joint;
      column[0] += by * (zy * rz - zz * ry);
      column[n] += by * (zz * rx - zx * rz);
      column[2 * n] += by * (zx * ry - zy * rx);
      column[3 * n] += by * zx, column[4 * n] += by * zy, column[5 * n] += by * zz;
    }
  }

  void state(const double* q, double* R, double* p, double* J) const {
    Frame f[MAX_JOINTS + 1];
    state(q, R, p, J, f);
  }

  // TCP position, quaternion wxyz, and (v, w) in the base frame
  void motion(const double* q, const double* dq, double* p, double* quat, double* twist) const {
    double R[9], J[6 * MAX_JOINTS];
    state(q, R, p, J);
    mat_to_quat(R, quat);
    const int n = this->n();
    for (int r = 0; r < 6; ++r) {
      double sum = 0.0;
      for (int i = 0; i < n; ++i) sum += J[r * n + i] * dq[i];
      twist[r] = sum;
    }
  }

  // Damped least squares from `q` to the TCP pose, in place; returns the residual. Where that is
  // not finite, neither is `q`.
  double ik(const double* R, const double* p, double* q, const Search& how) const {
    const int n = this->n();
    Frame f[MAX_JOINTS + 1];
    double Rc[9], pc[3], D[9], J[6 * MAX_JOINTS], turned[6 * MAX_JOINTS], e[6], at[6];
    double wanted[6], pull[MAX_JOINTS], step[MAX_JOINTS];
    int active[6], rows = 0;
    for (int i = 0; i < 6; ++i)
      if (weights[i] != 0.0) active[rows++] = i;
    bool pulls = n > rows;
    for (const Range& joint : joints) pulls = pulls && std::isfinite(joint.posture);
    for (int it = 0;; ++it) {
      state(q, Rc, pc, J, f);
      const double* A = axes < 0 ? Rc : f[axes].r;
      for (int i = 0; i < 3; ++i) e[i] = p[i] - pc[i];
      multiply_transposed(R, Rc, D);
      mat_to_rotvec(D, e + 3);
      turn_rows(A, e, 1, at);
      turn_rows(A, e + 3, 1, at + 3);
      double residual = 0.0;
      bool finite = true;
      for (double x : at) finite = finite && std::isfinite(x);
      for (int r = 0; r < rows; ++r)
        residual = std::max(residual, std::fabs(rows == 6 ? e[r] : at[active[r]]));
      if (!finite) return lost(q);
      if (residual < how.tol || it == how.iterations) return residual;
      turn_rows(A, J, n, turned);
      turn_rows(A, J + 3 * n, n, turned + 3 * n);
      for (int r = 0; r < rows; ++r) {  // rows move up, never down
        const double w = weights[active[r]];
        wanted[r] = w * at[active[r]];
        for (int k = 0; k < n; ++k) turned[r * n + k] = w * turned[active[r] * n + k];
      }
      for (int k = 0; k < n; ++k)
        pull[k] = pulls ? PULL * std::min(1.0, residual / PULL_FROM) * (joints[k].posture - q[k])
                        : 0.0;
      solve_step(turned, rows, wanted, pull, q, how, step);
      for (int k = 0; k < n; ++k) {
        if (!std::isfinite(step[k])) return lost(q);
        q[k] = std::min(std::max(q[k] + step[k], joints[k].lo), joints[k].hi);
      }
    }
  }

  // `actions` (h, width): position [m] and rotation vector [rad] in the frame (R0, p0); `q`
  // (h + 1, n): row 0 is given, each other one is solved from the row before. Returns the largest
  // residual. A row that is not finite, and all behind it, become NaN and have no residual.
  double ik_chunk(const double* R0, const double* p0, const double* actions, int h, int width,
                  double* q, const Search& how) const {
    const int n = this->n();
    double worst = 0.0, turn[9], R[9], p[3];
    bool gone = false;
    for (int k = 0; k < h; ++k, q += n, actions += width) {
      for (int i = 0; i < width; ++i) gone = gone || !std::isfinite(actions[i]);
      if (gone) {
        std::fill_n(q + n, n, std::numeric_limits<double>::quiet_NaN());
        continue;
      }
      rotvec_to_mat(actions + 3, turn);
      multiply(R0, turn, R);
      for (int i = 0; i < 3; ++i)
        p[i] = p0[i] + (R0[3 * i] * actions[0] + R0[3 * i + 1] * actions[1] +
                        R0[3 * i + 2] * actions[2]);
      std::copy_n(q, n, q + n);
      const double residual = ik(R, p, q + n, how);
      worst = std::max(worst, residual);
      gone = !std::isfinite(residual);
    }
    return worst;
  }

 private:
  double lost(double* q) const {
    std::fill_n(q, n(), std::numeric_limits<double>::quiet_NaN());
    return std::numeric_limits<double>::infinity();
  }

  // The damped least-squares step (n,) of the joints; see `_step` in drivers/kinematics_python.py.
  // J (rows, n), wanted (rows,).
  void solve_step(const double* J, int rows, const double* wanted, const double* pull,
                  const double* q, const Search& how, double* step) const {
    const int n = this->n();
    bool free[MAX_JOINTS];
    double A[6][6], left[6];
    std::fill_n(free, n, true);
    std::fill_n(step, n, 0.0);
    for (int round = 0; round <= n; ++round) {
      for (int i = 0; i < rows; ++i) {
        left[i] = wanted[i];
        for (int k = 0; k < n; ++k) left[i] -= J[i * n + k] * (free[k] ? pull[k] : step[k]);
        for (int j = 0; j <= i; ++j) {
          double sum = i == j ? how.damping : 0.0;
          for (int k = 0; k < n; ++k)
            if (free[k]) sum += J[i * n + k] * J[j * n + k];
          A[i][j] = sum;
        }
      }
      solve(A, left, rows);
      double most = 0.0;
      for (int k = 0; k < n; ++k) {
        if (!free[k]) continue;
        step[k] = pull[k];
        for (int i = 0; i < rows; ++i) step[k] += J[i * n + k] * left[i];
        most = std::max(most, std::fabs(step[k]));
      }
      const double scale = most > how.max_step ? how.max_step / most : 1.0;
      bool inside = true;
      for (int k = 0; k < n; ++k) {
        if (!free[k]) continue;
        step[k] *= scale;
        const double to = q[k] + step[k];
        if (to < joints[k].lo || to > joints[k].hi) {
          step[k] = (to < joints[k].lo ? joints[k].lo : joints[k].hi) - q[k];
          free[k] = inside = false;
        }
      }
      if (inside) return;
    }
  }
};

}  // namespace headway
