import HeraldCore
import Testing

@Suite struct LogTests {
    @Test func `a new log stands before its first event`() throws {
        let log = try Log(.small)
        #expect(log.head == Cursor(epoch: 7, sequence: 0))
        #expect(log.statistics == LogStatistics())
        #expect(log.states(prefix: "", after: "", limit: 10).topics.isEmpty)
    }

    @Test func `a topic that nobody has published on is unknown`() throws {
        let log = try Log(.small)
        #expect(log.state(of: try TopicName("a")) == nil)
        #expect(!log.purge(try TopicName("a")))
    }
}

extension LogConfiguration {
    /// A log that keeps little.
    static var small: LogConfiguration {
        LogConfiguration(
            epoch: 7, retention: Retention(count: 10, bytes: 1 << 20, ageMilliseconds: 0),
            rules: [], memoryBytes: 16 << 20, topicCount: 4, filterCount: 100, linkCount: 1000,
            windowCount: 1024, windowBytes: 1 << 20, topicIdleMilliseconds: 60_000)
    }
}
