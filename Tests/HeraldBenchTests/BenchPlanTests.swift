import Testing

@testable import HeraldBench

@Suite struct BenchPlanTests {
    private func problem(_ change: (inout BenchPlan) -> Void) -> String? {
        var plan = BenchPlan()
        change(&plan)
        return plan.problem
    }

    @Test func `the defaults have no problem`() {
        #expect(BenchPlan().problem == nil)
        #expect(BenchPlan().transports.count == 5)
    }

    @Test func `readers are bounded`() {
        #expect(problem { $0.readers = 1 } == nil)
        #expect(problem { $0.readers = 0 } == "--readers is 0; it may be 1 to 20000.")
        #expect(problem { ($0.readers, $0.rates) = (20_000, [10]) } == nil)
        #expect(problem { ($0.readers, $0.rates) = (20_001, [10]) } == "--readers is 20001; it may be 1 to 20000.")
    }

    @Test func `rates are bounded`() {
        #expect(problem { ($0.rates, $0.duration) = ([0.1], .seconds(60)) } == nil)
        #expect(
            problem { ($0.rates, $0.duration) = ([0.09], .seconds(60)) }
                == "--rate is 0.09; it may be 0.1 to 10000 events a second.")
        #expect(problem { $0.rates = [10_000] } == nil)
        #expect(problem { $0.rates = [1, 10_001] } == "--rate is 10001; it may be 0.1 to 10000 events a second.")
        #expect(problem { $0.rates = (1...16).map(Double.init) } == nil)
        #expect(problem { $0.rates = (1...17).map(Double.init) } == "--rate has 17 rates; there may be 16.")
        #expect(problem { $0.rates = [] } == "--rate names none.")
        #expect(problem { $0.rates = [1, 5, 1] } == "--rate has 1 twice.")
    }

    @Test func `sizes are bounded`() {
        #expect(problem { $0.size = 16 } == nil)
        #expect(problem { $0.size = 15 } == "--size is 15; it may be 16 to 262144 bytes.")
        #expect(problem { ($0.size, $0.rates) = (262_144, [10]) } == nil)
        #expect(problem { ($0.size, $0.rates) = (262_145, [10]) } == "--size is 262145; it may be 16 to 262144 bytes.")
    }

    @Test func `times are bounded`() {
        #expect(problem { $0.duration = .seconds(1) } == nil)
        #expect(problem { $0.duration = .milliseconds(999) } == "--duration is 999ms; it may be 1s to 3600s.")
        #expect(problem { $0.duration = .seconds(3600) } == nil)
        #expect(problem { $0.duration = .seconds(3601) } == "--duration is 3601s; it may be 1s to 3600s.")
        #expect(problem { $0.warmUp = .zero } == nil)
        #expect(problem { $0.warmUp = .seconds(300) } == nil)
        #expect(problem { $0.warmUp = .seconds(301) } == "--warm-up is 301s; it may be 0s to 300s.")
        #expect(problem { $0.interval = .milliseconds(10) } == nil)
        #expect(problem { $0.interval = .milliseconds(9) } == "--interval is 9ms; it may be 10ms to 30s.")
        #expect(problem { $0.interval = .seconds(30) } == nil)
        #expect(problem { $0.interval = .seconds(31) } == "--interval is 31s; it may be 10ms to 30s.")
        #expect(problem { $0.wait = .seconds(1) } == nil)
        #expect(problem { $0.wait = .milliseconds(999) } == "--wait is 999ms; it may be 1s to 300s.")
        #expect(problem { $0.wait = .milliseconds(1500) } == "--wait is 1500ms; it has to be whole seconds.")
        #expect(problem { $0.wait = .seconds(300) } == nil)
        #expect(problem { $0.wait = .seconds(301) } == "--wait is 301s; it may be 1s to 300s.")
    }

    @Test func `transports are named, and once`() {
        #expect(problem { $0.transports = [] } == "--transports names none.")
        #expect(problem { $0.transports = [.ws, .sse, .ws] } == "--transports has ws twice.")
    }

    @Test func `there has to be an event to measure`() {
        #expect(problem { ($0.rates, $0.duration, $0.warmUp) = ([0.1], .seconds(6), .zero) } == nil)
        #expect(
            problem { ($0.rates, $0.duration, $0.warmUp) = ([0.1], .seconds(5), .zero) }
                == "--duration is 5s, too short for an event at 0.1 a second.")
    }

    @Test func `deliveries are bounded over all`() {
        // 1000 readers at 1000 a second: a million deliveries a second.
        #expect(
            problem { ($0.readers, $0.rates, $0.duration, $0.warmUp) = (1000, [1000], .seconds(200), .zero) } == nil)
        let past = problem { ($0.readers, $0.rates, $0.duration, $0.warmUp) = (1000, [1000], .seconds(201), .zero) }
        #expect(past?.contains("more than 200000000 deliveries") == true)
    }

    @Test func `what a topic keeps for readers that are late is bounded`() {
        // 100 a second, 60 s between polls twice and 10 s: 7000 events.
        let big = { (plan: inout BenchPlan) in (plan.rates, plan.interval, plan.size) = ([100], .seconds(30), 37_000) }
        #expect(problem(big) == nil)
        let bigger = { (plan: inout BenchPlan) in
            big(&plan)
            plan.size = 38_000
        }
        #expect(problem(bigger)?.hasPrefix("A topic would have to keep 260 MiB") == true)
        // Without polls 10 s alone: 1000 events.
        let streams = { (plan: inout BenchPlan) in plan.transports = [.longpoll, .sse, .ndjson, .ws] }
        #expect(
            problem { plan in
                bigger(&plan)
                streams(&plan)
            } == nil)
        #expect(
            problem { plan in
                streams(&plan)
                (plan.rates, plan.readers, plan.size) = ([10_000], 1, 1660)
            } == nil)
        #expect(
            problem { plan in
                streams(&plan)
                (plan.rates, plan.readers, plan.size) = ([10_000], 1, 1661)
            }?.hasPrefix("A topic would have to keep 256 MiB") == true)
    }

    @Test func `short polls come round once before anything is measured`() {
        var plan = BenchPlan()
        (plan.warmUp, plan.interval) = (.seconds(2), .seconds(5))
        #expect(plan.warmUp(of: .poll) == .seconds(5))
        #expect(plan.warmUp(of: .ws) == .seconds(2))
        plan.transports = [.poll, .ws]
        plan.rates = [1, 10]
        #expect(plan.expectedTime == .milliseconds(2 * 15_300 + 2 * 12_300))
    }
}
