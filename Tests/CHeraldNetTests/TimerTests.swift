import CHeraldNet
import Testing

/// A timer that writes down when it fired, for a wheel driven by a clock of the test's own.
private final class Alarm {
    let timer = UnsafeMutablePointer<hr_timer>.allocate(capacity: 1)
    init() {
        hr_timer_init(timer) { timer in
            Ledger.fired.append(timer.map { UInt(bitPattern: $0) } ?? 0)
        }
    }
    var name: UInt { UInt(bitPattern: timer) }
    deinit { timer.deallocate() }
}

/// What fired, in order. The tests of this suite run one after the other.
private enum Ledger {
    nonisolated(unsafe) static var fired: [UInt] = []
}

@Suite(.serialized) struct TimerTests {
    private let wheel = UnsafeMutablePointer<hr_wheel>.allocate(capacity: 1)

    private func begin(at milliseconds: UInt64) {
        Ledger.fired = []
        hr_wheel_init(wheel, milliseconds)
    }

    @Test func `a timer fires at the first tick at or after its deadline and not before`() {
        begin(at: 1000)
        defer { wheel.deallocate() }
        let alarm = Alarm()
        hr_timer_arm(wheel, alarm.timer, 1000, 250)
        hr_wheel_advance(wheel, 1200)
        #expect(Ledger.fired.isEmpty)
        hr_wheel_advance(wheel, 1299)
        #expect(Ledger.fired.isEmpty)
        hr_wheel_advance(wheel, 1300)
        #expect(Ledger.fired == [alarm.name])
        #expect(wheel.pointee.count == 0)
        hr_wheel_advance(wheel, 90_000)
        #expect(Ledger.fired.count == 1)
    }

    @Test func `a timer armed again for its own tick, or another, fires once`() {
        begin(at: 1000)
        defer { wheel.deallocate() }
        let alarm = Alarm()
        for _ in 0..<3 { hr_timer_arm(wheel, alarm.timer, 1000, 250) }
        #expect(wheel.pointee.count == 1)
        hr_timer_arm(wheel, alarm.timer, 1010, 400)
        #expect(wheel.pointee.count == 1)
        hr_wheel_advance(wheel, 1400)
        #expect(Ledger.fired.isEmpty)
        hr_wheel_advance(wheel, 1500)
        #expect(Ledger.fired == [alarm.name])
        #expect(wheel.pointee.count == 0)
    }

    @Test func `a deadline beyond one turn of the wheel waits for its own turn`() {
        begin(at: 0)
        defer { wheel.deallocate() }
        let near = Alarm()
        let far = Alarm()
        let turn = UInt64(HR_WHEEL_SLOT_COUNT) * UInt64(HR_TICK_MS)
        hr_timer_arm(wheel, near.timer, 0, 500)
        hr_timer_arm(wheel, far.timer, 0, turn * 3 + 500)
        for now in stride(from: UInt64(0), through: turn * 3, by: 100) {
            hr_wheel_advance(wheel, now)
        }
        #expect(Ledger.fired == [near.name])
        hr_wheel_advance(wheel, turn * 3 + 500)
        #expect(Ledger.fired == [near.name, far.name])
    }

    @Test func `a sleep longer than the wheel loses no timer`() {
        begin(at: 0)
        defer { wheel.deallocate() }
        let alarms = (0..<50).map { _ in Alarm() }
        for (index, alarm) in alarms.enumerated() {
            hr_timer_arm(wheel, alarm.timer, 0, UInt64(index) * 7_001)
        }
        hr_wheel_advance(wheel, 10_000_000)
        #expect(Set(Ledger.fired) == Set(alarms.map(\.name)))
        #expect(wheel.pointee.count == 0)
    }

    @Test func `a cancelled timer does not fire and arming again moves it`() {
        begin(at: 0)
        defer { wheel.deallocate() }
        let cancelled = Alarm()
        let moved = Alarm()
        hr_timer_arm(wheel, cancelled.timer, 0, 300)
        hr_timer_arm(wheel, moved.timer, 0, 300)
        hr_timer_cancel(wheel, cancelled.timer)
        hr_timer_cancel(wheel, cancelled.timer)
        hr_timer_arm(wheel, moved.timer, 0, 900)
        #expect(wheel.pointee.count == 1)
        hr_wheel_advance(wheel, 899)
        #expect(Ledger.fired.isEmpty)
        hr_wheel_advance(wheel, 900)
        #expect(Ledger.fired == [moved.name])
    }

    @Test func `random timers fire exactly once and never early`() {
        var random = SeededRandom(seed: 20_260_102)
        begin(at: 0)
        defer { wheel.deallocate() }
        var due: [UInt: UInt64] = [:]
        var alarms: [Alarm] = []
        var now: UInt64 = 0
        for _ in 0..<2_000 {
            let alarm = Alarm()
            let after = random.next() % 200_000
            hr_timer_arm(wheel, alarm.timer, now, after)
            due[alarm.name] = now + after
            alarms.append(alarm)
            now += random.next() % 500
            let before = Ledger.fired.count
            hr_wheel_advance(wheel, now)
            for name in Ledger.fired[before...] {
                let deadline = due.removeValue(forKey: name)
                #expect(deadline != nil, "it fired twice")
                #expect((deadline ?? .max) <= now, "it fired early")
            }
            let late = due.values.filter { $0 + UInt64(HR_TICK_MS) <= now }
            #expect(late.isEmpty)
        }
        hr_wheel_advance(wheel, now + 400_000)
        #expect(Ledger.fired.count == 2_000)
    }
}

/// SplitMix64, so that a failure can be run again.
struct SeededRandom {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
