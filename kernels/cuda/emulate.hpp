// CUDA's threads on a CPU, for tests: each is a fibre, and barriers, shuffles and ballots switch
// between them, so that the kernel's own source runs, collective operations included.
//
// `order` decides which fibre runs first between two barriers: a kernel whose result depends on it
// has a race. Not fast, not for production: one block after the other on one core.
#pragma once
#ifdef _FORTIFY_SOURCE
#undef _FORTIFY_SOURCE  // its longjmp check takes a change of stack for an error
#endif
#include <setjmp.h>
#include <ucontext.h>

#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <vector>

#define HW_FN inline
#define HW_KERNEL(threads) inline void
#define HW_SHARED(name) unsigned char* name = headway::emulate::block->shared

namespace headway::emulate {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

struct Fibre {
  ucontext_t first;
  jmp_buf here;
  std::vector<unsigned char> stack;
  bool started = false, done = false;
};

// Threads that wait for each other; the last to come opens the gate.
struct Gate {
  int waiting = 0;
  unsigned generation = 0;
};

struct Block {
  unsigned char* shared = nullptr;
  std::vector<Fibre> fibres;
  std::vector<std::uint64_t> slots;  // two per thread, used in turn: what it gives to a collective
  std::vector<Gate> warps;
  std::vector<unsigned char> turn;
  Gate all;
  int running = 0, alive = 0, any = 0;
  jmp_buf scheduler;
  std::function<void()> body;
};

inline thread_local Block* block = nullptr;
inline thread_local Dim thread_index, block_index, block_size, grid_size;

inline void yield_to_scheduler() {
  Block* b = block;
  if (_setjmp(b->fibres[b->running].here) == 0) _longjmp(b->scheduler, 1);
}

inline void wait(Gate& g, int threads) {
  const unsigned mine = g.generation;
  if (++g.waiting == threads) {
    g.waiting = 0;
    ++g.generation;
    return;
  }
  while (g.generation == mine) yield_to_scheduler();
}

inline void entry() {
  Block* b = block;
  b->body();
  b->fibres[b->running].done = true;
  --b->alive;
  _longjmp(b->scheduler, 1);
}

// Run `body` as `threads` fibres to the end. `order`: 0 ascending, 1 descending, else shuffled.
inline void run_block(int threads, unsigned order, const std::function<void()>& body,
                      unsigned char* shared) {
  static thread_local Block b;
  if (threads % 32) throw std::runtime_error("wanted whole warps");
  b.shared = shared;
  b.body = body;
  b.fibres.resize(threads);
  b.slots.assign(2 * threads, 0);
  b.turn.assign(threads, 0);
  b.warps.assign(threads / 32, Gate{});
  b.all = Gate{};
  b.alive = threads;
  b.any = 0;
  block = &b;
  std::vector<int> queue(threads);
  for (int i = 0; i < threads; ++i) queue[i] = order == 1 ? threads - 1 - i : i;
  std::uint64_t seed = order;
  for (int i = threads - 1; order > 1 && i > 0; --i) {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    std::swap(queue[i], queue[(seed >> 33) % (i + 1)]);
  }
  for (Fibre& f : b.fibres) {
    f.stack.resize(64 * 1024);
    f.started = f.done = false;
  }
  while (b.alive) {
    const unsigned before = b.all.generation;
    const int alive = b.alive;
    bool moved = false;
    std::uint64_t steps = 0;
    for (const Gate& w : b.warps) steps += w.generation;
    for (volatile int i = 0; i < threads; i = i + 1) {
      const int id = queue[i];
      Fibre& f = b.fibres[id];
      if (f.done) continue;
      b.running = id;
      thread_index.x = unsigned(id);
      if (_setjmp(b.scheduler) == 0) {
        if (f.started) _longjmp(f.here, 1);
        f.started = true;
        getcontext(&f.first);
        f.first.uc_stack.ss_sp = f.stack.data();
        f.first.uc_stack.ss_size = f.stack.size();
        f.first.uc_link = nullptr;
        makecontext(&f.first, entry, 0);
        setcontext(&f.first);
      }
    }
    std::uint64_t now = 0;
    for (const Gate& w : b.warps) now += w.generation;
    moved = now != steps || b.all.generation != before || b.alive != alive;
    if (!moved) throw std::runtime_error("the kernel hangs: not all threads reach a barrier");
  }
  block = nullptr;
}

template <class T>
T exchange(T mine, int from) {
  static_assert(sizeof(T) <= 8);
  Block& b = *block;
  const int id = b.running, base = id & ~31;
  unsigned char& turn = b.turn[id];
  turn ^= 1;
  std::memcpy(&b.slots[2 * id + turn], &mine, sizeof(T));
  const int side = turn;
  wait(b.warps[base / 32], 32);
  T out;
  std::memcpy(&out, &b.slots[2 * (base + from) + side], sizeof(T));
  return out;
}

inline unsigned ballot(int predicate) {
  Block& b = *block;
  const int id = b.running, base = id & ~31;
  unsigned char& turn = b.turn[id];
  turn ^= 1;
  b.slots[2 * id + turn] = predicate != 0;
  const int side = turn;
  wait(b.warps[base / 32], 32);
  unsigned out = 0;
  for (int i = 0; i < 32; ++i) out |= unsigned(b.slots[2 * (base + i) + side] != 0) << i;
  return out;
}

}  // namespace headway::emulate

#define threadIdx headway::emulate::thread_index
#define blockIdx headway::emulate::block_index
#define blockDim headway::emulate::block_size
#define gridDim headway::emulate::grid_size

inline void __syncthreads() {
  headway::emulate::Block& b = *headway::emulate::block;
  headway::emulate::wait(b.all, int(b.fibres.size()));
}
inline int __syncthreads_or(int predicate) {
  headway::emulate::Block& b = *headway::emulate::block;
  if (predicate) b.any = 1;
  __syncthreads();
  const int out = b.any;
  __syncthreads();
  b.any = 0;
  __syncthreads();
  return out;
}
inline void __syncwarp() {
  headway::emulate::Block& b = *headway::emulate::block;
  headway::emulate::wait(b.warps[std::size_t(b.running / 32)], 32);
}
template <class T>
T __shfl_xor_sync(unsigned, T x, int mask) {
  return headway::emulate::exchange(x, (headway::emulate::block->running & 31) ^ mask);
}
template <class T>
T __shfl_sync(unsigned, T x, int from) {
  return headway::emulate::exchange(x, from);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  return headway::emulate::ballot(predicate);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int atomicAdd(int* at, int x) {
  const int old = *at;
  *at += x;
  return old;
}
inline unsigned atomicAnd(unsigned* at, unsigned x) {
  const unsigned old = *at;
  *at &= x;
  return old;
}
using std::fabs;
using std::sqrt;
