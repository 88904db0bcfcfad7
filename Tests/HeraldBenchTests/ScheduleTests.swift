import NIOCore
import Testing

@testable import HeraldBench

@Suite struct ScheduleTests {
    @Test(arguments: [
        (1.0, 2, 10, 12, 10), (10, 2, 10, 120, 100), (100, 0, 1, 100, 100), (0.1, 2, 10, 1, 1), (0.1, 10, 20, 3, 2),
        (0.5, 1, 1, 1, 1), (3.5, 0, 1, 3, 3), (0.1, 0, 1, 0, 0),
    ])
    func `events are counted by when they are due`(
        rate: Double, warmUp: Int, duration: Int, count: Int, measured: Int
    ) {
        let schedule = Schedule(rate: rate, warmUp: .seconds(warmUp), duration: .seconds(duration))
        #expect(schedule.count == count)
        #expect(schedule.measuredCount == measured)
    }

    @Test(arguments: [0.1, 1, 3, 7.5, 100, 9_999, 10_000])
    func `an event is measured if it is due within the measured time`(rate: Double) {
        let schedule = Schedule(rate: rate, warmUp: .seconds(3), duration: .seconds(20))
        let (begin, end) = (TimeAmount.seconds(3), TimeAmount.seconds(23))
        #expect(schedule.due(schedule.firstMeasured) >= begin)
        #expect(schedule.firstMeasured == 0 || schedule.due(schedule.firstMeasured - 1) < begin)
        #expect(schedule.due(schedule.count - 1) < end)
        #expect(schedule.due(schedule.count) >= end)
    }

    @Test func `events are evenly spaced, the first half a period behind the beginning`() {
        let schedule = Schedule(rate: 10, warmUp: .zero, duration: .seconds(1))
        #expect((0..<3).map { schedule.due($0) } == [.milliseconds(50), .milliseconds(150), .milliseconds(250)])
    }
}
