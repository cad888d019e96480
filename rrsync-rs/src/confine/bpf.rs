//! The filter as the kernel takes it: a search for the call's number by halves, and the conditions of what it finds.
//!
//! When a filter is installed, the kernel runs it once for each number that there is, to learn which calls it need not ask about any
//! more. A list that is gone through from its beginning makes that the longest step of a session's start; a search
//! takes a tenth of it. See `seccomp(2)` and the kernel's `networking/filter.rst`.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{SeccompAction, sock_filter};

/// A comparison of one argument: its bits under `mask` are those of `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Which argument, counted from 0.
    pub(super) argument: u8,
    /// The bits that count.
    pub(super) mask: u64,
    /// What they are.
    pub(super) value: u64,
}

/// What is allowed: by number, the ways in which a call may be made, each a list of conditions that all hold. No way at all
/// stands for any way.
pub(super) type Rules = BTreeMap<c_long, Vec<Vec<Condition>>>;

/// What becomes of the calls from a number on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict<'a> {
    Allow,
    Deny,
    /// As if the kernel did not know it.
    Missing,
    If(&'a [Vec<Condition>]),
}

// linux/bpf_common.h and linux/filter.h.
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

// `struct seccomp_data`: the number, the architecture, the instruction pointer, six arguments.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

/// This machine's, linux/audit.h: the ELF machine, 64 bits, little end first.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xc000_00f3;

/// Compiles `rules`. The calls `missing` answer `ENOSYS`, whatever else is not allowed `EPERM`; a call of another architecture ends
/// the process.
pub(super) fn compile(rules: &Rules, missing: &[c_long]) -> Vec<sock_filter> {
    // Numbers fit; one that did not could not be called.
    let number = |call: &c_long| u32::try_from(*call).ok();
    let mut verdicts: Vec<(u32, Verdict<'_>)> = rules
        .iter()
        .filter(|(call, _)| !missing.contains(call))
        .filter_map(|(call, ways)| {
            let verdict = if ways.is_empty() { Verdict::Allow } else { Verdict::If(ways) };
            number(call).map(|call| (call, verdict))
        })
        .chain(missing.iter().filter_map(number).map(|call| (call, Verdict::Missing)))
        .collect();
    verdicts.sort_unstable_by_key(|(call, _)| *call);
    let mut program = Backwards::default();
    let search = program.search(&ranges(&verdicts));
    let known = program.load(NUMBER_AT, search);
    let killed = program.push(RETURN, 0, 0, SeccompAction::KillProcess.into());
    let test = program.test(JUMP_IF_EQUAL, ARCHITECTURE, known, killed);
    program.load(ARCHITECTURE_AT, test);
    program.instructions.reverse();
    program.instructions
}

/// Where a verdict begins to hold; each until the next one. `verdicts` are in order, and each call is there once.
fn ranges<'a>(verdicts: &[(u32, Verdict<'a>)]) -> Vec<(u32, Verdict<'a>)> {
    let mut ranges = vec![(0, Verdict::Deny)];
    for (index, (call, verdict)) in verdicts.iter().enumerate() {
        match ranges.last_mut() {
            Some((start, last)) if *start == *call => *last = *verdict,
            Some((_, last)) if *last == *verdict && *verdict == Verdict::Allow => {}
            _ => ranges.push((*call, *verdict)),
        }
        if verdicts.get(index + 1).is_none_or(|(next, _)| *next != call + 1) {
            ranges.push((call + 1, Verdict::Deny));
        }
    }
    ranges
}

/// A program from its end, since jumps only go forwards: a place is the number of instructions behind it.
#[derive(Default)]
struct Backwards {
    instructions: Vec<sock_filter>,
    /// What returns a value, and where: shared by all that come there. Half as many instructions are half the time to install them.
    returns: Vec<(u32, Place)>,
}

type Place = usize;

/// How far a conditional jump goes, and room for the one more instruction that a longer one takes.
const NEAR: usize = 250;

impl Backwards {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Place {
        self.instructions.push(sock_filter { code, jt, jf, k });
        self.instructions.len() - 1
    }

    /// How many instructions the next one has to pass over to come to `place`.
    fn distance(&self, place: Place) -> usize {
        self.instructions.len() - place - 1
    }

    /// `place`, or what jumps there, within the reach of a conditional jump.
    fn near(&mut self, place: Place) -> Place {
        match self.distance(place) {
            near if near <= NEAR => place,
            far => self.push(JUMP, 0, 0, u32::try_from(far).unwrap_or(u32::MAX)),
        }
    }

    /// Goes to one place or to another. What fits nowhere returns to where the kernel refuses the program.
    fn test(&mut self, code: u16, value: u32, holds: Place, fails: Place) -> Place {
        let (holds, fails) = (self.near(holds), self.near(fails));
        let [jt, jf] = [holds, fails].map(|place| u8::try_from(self.distance(place)).unwrap_or(u8::MAX));
        self.push(code, jt, jf, value)
    }

    /// Loads a word of the call, and goes on at `next`.
    fn load(&mut self, at: u32, next: Place) -> Place {
        self.follows(next);
        self.push(LOAD_WORD, 0, 0, at)
    }

    /// Makes `place` what comes next.
    fn follows(&mut self, place: Place) {
        if self.distance(place) > 0 {
            let far = u32::try_from(self.distance(place)).unwrap_or(u32::MAX);
            self.push(JUMP, 0, 0, far);
        }
    }

    /// Finds the range that the accumulator is in, and does what its verdict says.
    fn search(&mut self, ranges: &[(u32, Verdict<'_>)]) -> Place {
        match ranges {
            [] => self.returned(Verdict::Deny),
            [(_, Verdict::If(ways))] => self.conditions(ways),
            [(_, verdict)] => self.returned(*verdict),
            _ => {
                let (lower, upper) = ranges.split_at(ranges.len() / 2);
                let start = upper.first().map_or(0, |(start, _)| *start);
                let upper = self.search(upper);
                let lower = self.search(lower);
                self.test(JUMP_IF_AT_LEAST, start, upper, lower)
            }
        }
    }

    fn returned(&mut self, verdict: Verdict<'_>) -> Place {
        let errno = |errno: i32| SeccompAction::Errno(errno.cast_unsigned());
        let action = u32::from(match verdict {
            Verdict::Allow => SeccompAction::Allow,
            Verdict::Missing => errno(libc::ENOSYS),
            Verdict::Deny | Verdict::If(_) => errno(libc::EPERM),
        });
        let known = self.returns.iter().rfind(|(value, _)| *value == action).map(|(_, place)| *place);
        known.filter(|place| self.distance(*place) <= NEAR).unwrap_or_else(|| {
            let place = self.push(RETURN, 0, 0, action);
            self.returns.push((action, place));
            place
        })
    }

    /// Allows the call when all conditions of one way hold.
    fn conditions(&mut self, ways: &[Vec<Condition>]) -> Place {
        let mut otherwise = self.returned(Verdict::Deny);
        for way in ways.iter().rev() {
            let mut next = self.returned(Verdict::Allow);
            for Condition { argument, mask, value } in way.iter().rev() {
                let at = ARGUMENTS_AT + 8 * u32::from(*argument);
                for (at, shift) in [(at + 4, 32), (at, 0)] {
                    let half =
                        |bits: u64| u32::try_from(bits >> shift & u64::from(u32::MAX)).unwrap_or(u32::MAX);
                    if half(*mask) != 0 {
                        next = self.test(JUMP_IF_EQUAL, half(*value), next, otherwise);
                        if half(*mask) != u32::MAX {
                            next = self.push(AND, 0, 0, half(*mask));
                        }
                        next = self.load(at, next);
                    }
                }
            }
            otherwise = next;
        }
        otherwise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: u32 = 0x7fff_0000;
    const DENIED: u32 = 0x0005_0000 | libc::EPERM.cast_unsigned();
    const UNKNOWN: u32 = 0x0005_0000 | libc::ENOSYS.cast_unsigned();
    const KILLED: u32 = 0x8000_0000;

    /// What the kernel makes of a call.
    fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = [number.to_le_bytes(), architecture.to_le_bytes(), [0; 4], [0; 4]].concat();
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        let (mut accumulator, mut at) = (0_u32, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let mut jump = |taken: bool| at += usize::from(if taken { jt } else { jf });
            match code {
                LOAD_WORD => {
                    let from = k as usize;
                    accumulator = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
                }
                AND => accumulator &= k,
                JUMP => at += k as usize,
                JUMP_IF_EQUAL => jump(accumulator == k),
                JUMP_IF_AT_LEAST => jump(accumulator >= k),
                RETURN => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn holds(ways: &[Vec<Condition>], arguments: [u64; 6]) -> bool {
        let one =
            |way: &Vec<Condition>| way.iter().all(|c| arguments[usize::from(c.argument)] & c.mask == c.value);
        ways.is_empty() || ways.iter().any(one)
    }

    /// Numbers close together and far apart, with conditions on halves, bits and whole arguments; long enough for far jumps.
    fn rules() -> Rules {
        let condition = |argument, mask, value| Condition { argument, mask, value };
        let mut rules: Rules =
            (0..1000).filter(|n| n % 7 != 3 && n % 11 != 5).map(|n| (n, Vec::new())).collect();
        for n in (0..1000).step_by(13) {
            let number = u64::try_from(n).unwrap();
            let ways = vec![
                vec![condition(0, u64::MAX, number), condition(1, 0xff, 7)],
                vec![condition(2, 0xffff_ffff, 5)],
                vec![condition(5, 0xff00_0000_0000, 0x1200_0000_0000), condition(0, 0, 0)],
            ];
            rules.insert(n, ways);
        }
        rules.insert(1 << 20, Vec::new());
        rules
    }

    #[test]
    fn the_program_says_what_the_rules_say() {
        let rules = rules();
        let missing = [3, 17, 435];
        let program = compile(&rules, &missing);
        assert!(program.len() > 600 && program.len() < 4096, "{}", program.len());
        let mut arguments = vec![[0; 6], [u64::MAX; 6], [13, 7, 0, 0, 0, 0], [26, 0x107, 9, 0, 0, 0]];
        arguments.extend([
            [0, 0, 5, 0, 0, 0],
            [0, 0, 5 | 1 << 32, 0, 0, 0],
            [1, 1, 1, 1, 1, 0x12ff_ffff_ffff],
        ]);
        arguments.extend((0..1000).step_by(13).map(|n| [n, 7, 0, 0, 0, 0]));
        for number in (0..1300).chain([1 << 20, (1 << 20) + 1, 0x4000_0000, u32::MAX]) {
            for arguments in &arguments {
                let expected = match rules.get(&c_long::from(number)) {
                    _ if missing.contains(&c_long::from(number)) => UNKNOWN,
                    Some(ways) if holds(ways, *arguments) => ALLOWED,
                    _ => DENIED,
                };
                assert_eq!(
                    run(&program, ARCHITECTURE, number, *arguments),
                    expected,
                    "{number} {arguments:?}"
                );
            }
        }
        assert_eq!(run(&program, 0x4000_0003, 0, [0; 6]), KILLED);
    }

    #[test]
    fn nothing_is_allowed_by_no_rules() {
        let program = compile(&Rules::new(), &[]);
        assert_eq!(run(&program, ARCHITECTURE, 0, [0; 6]), DENIED);
        assert_eq!(run(&program, ARCHITECTURE, u32::MAX, [0; 6]), DENIED);
    }
}
