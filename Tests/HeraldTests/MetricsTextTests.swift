import HeraldCore
import Testing

@testable import Herald

@Suite struct MetricsTextTests {
    private func lines(_ change: (inout HubStatistics, inout LogStatistics) -> Void = { _, _ in }) -> [String] {
        var hub = HubStatistics()
        var log = LogStatistics()
        change(&hub, &log)
        let text = MetricsText(
            certificateExpiry: 1_800_000_000,
            hub: hub, log: log, refusals: [.badTopic: 2], loops: 3, version: "1.2.3", uptime: .milliseconds(1500),
            processorTime: .microseconds(2_000_250))
        return String(decoding: text.rendered, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test func `every family stands once, with help and type before its samples`() {
        var names: [String] = []
        var current = ""
        for line in lines() {
            let words = line.split(separator: " ", maxSplits: 3).map(String.init)
            if line.hasPrefix("# HELP ") {
                current = words[2]
                names.append(current)
                #expect(words.count == 4, "\(line)")
            } else if line.hasPrefix("# TYPE ") {
                #expect(words[2] == current)
            } else {
                #expect(line.hasPrefix(current), "\(line)")
            }
        }
        #expect(Set(names).count == names.count)
        #expect(names.allSatisfy { $0.hasPrefix("herald_") || $0 == "process_cpu_seconds_total" })
        #expect(names.count == 57)
    }

    @Test func `series are there before anything happened`() {
        let lines = lines()
        for transport in ["websocket", "sse", "ndjson", "longpoll", "shortpoll"] {
            #expect(lines.contains("herald_deliveries_total{transport=\"\(transport)\"} 0"))
        }
        #expect(lines.contains("herald_events_published_total 0"))
        #expect(lines.contains("herald_http_rejected_total{reason=\"timeout\"} 0"))
        #expect(lines.contains("herald_connections_closed_total{reason=\"slow\"} 0"))
    }

    @Test func `numbers stand where their labels say`() {
        let lines = lines { hub, log in
            hub.transports[.serverSentEvents]?.readers = [5, 6, 7]
            hub.transports[.longPoll]?.gaps = [1, 2, 3]
            hub.answers = [0, 9, 0, 4, 0]
            hub.webSocketCloses = [0, 0, 8, 0, 0, 0, 0, 0]
            log.evicted = EvictionCounts(count: 1, bytes: 2, age: 3, memory: 4, purge: 5)
        }
        #expect(lines.contains("herald_readers{transport=\"sse\",state=\"catching_up\"} 6"))
        #expect(lines.contains("herald_gaps_total{transport=\"longpoll\",reason=\"conflated\"} 3"))
        #expect(lines.contains("herald_http_requests_total{code=\"4xx\"} 4"))
        #expect(lines.contains("herald_websocket_closes_total{code=\"1002\"} 8"))
        #expect(lines.contains("herald_events_evicted_total{reason=\"memory\"} 4"))
        #expect(lines.contains("herald_publish_refused_total{reason=\"bad_topic\"} 2"))
        #expect(lines.contains("herald_build_info{version=\"1.2.3\"} 1"))
        #expect(lines.contains("herald_uptime_seconds 1.5"))
        #expect(lines.contains("process_cpu_seconds_total 2.00025"))
        #expect(lines.contains("herald_loops 3"))
    }

    @Test func `buckets of a histogram are cumulative and in seconds`() {
        let lines = lines { hub, _ in
            for index in hub.lag.buckets.indices { hub.lag.buckets[index] = 1 }
            hub.lag.sumNanoseconds = 2_500_000_000
        }.filter { $0.hasPrefix("herald_loop_lag_seconds") }
        let count = Histogram.boundsNanoseconds.count + 1
        let first = Double(Histogram.boundsNanoseconds[0]) / 1e9
        #expect(lines.first == "herald_loop_lag_seconds_bucket{le=\"\(first)\"} 1")
        #expect(lines.contains("herald_loop_lag_seconds_bucket{le=\"+Inf\"} \(count)"))
        #expect(lines.contains("herald_loop_lag_seconds_sum 2.5"))
        #expect(lines.last == "herald_loop_lag_seconds_count \(count)")
    }

    @Test func `every reason to refuse a publish has a series`() {
        let reasons = lines().filter { $0.hasPrefix("herald_publish_refused_total") }
        #expect(reasons.count == MetricsText.refusalKinds.count)
    }

    @Test func `the processor time is what the process has used`() {
        let before = ProcessorTime.used
        #expect(before > .zero)
        // Whatever the resolution of the system's count is, work moves it.
        var sum = 0.0
        while ProcessorTime.used == before { sum += Double.random(in: 0...1).squareRoot() }
        #expect(sum >= 0 && ProcessorTime.used > before)
    }

    @Test func `counts leave out the server's own topic`() throws {
        var log = LogStatistics()
        log.topics = 1
        log.filters = 1
        #expect(log.without(nil).topics == 1)
        #expect(log.without(nil).filters == 0)
    }
}
