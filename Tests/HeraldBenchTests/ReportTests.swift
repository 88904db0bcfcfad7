import Foundation
import Testing

@testable import HeraldBench

@Suite struct ReportTests {
    @Test(arguments: [
        (0.0, "0"), (-1, "0"), (.nan, "0"), (0.00001, "<0.0001"), (0.0001, "0.000100"), (0.0123, "0.0123"),
        (0.5, "0.500"), (0.9996, "1.00"), (1.2345, "1.23"), (42, "42.0"), (99.96, "100"), (999.6, "1000"),
        (1234.5, "1235"), (123_456_789, "123456789"),
    ])
    func `a figure has three digits that count`(value: Double, text: String) {
        #expect(Figure.text(value) == text)
    }

    @Test func `a row stands below its heading`() {
        let row = BenchRow(transport: .longpoll, rate: 0.5, outcome: .success(Reports.figures()))
        let line = ReportTable.line(row)
        #expect(
            line.split(separator: " ") == [
                "long-poll", "0.5", "0.500", "1.25", "20.0", "31.4", "1.20", "0.200", "321", "123", "12.5", "0", "0",
                "15%",
            ])
        let heading = ReportTable.heading
        #expect(heading[0].split(separator: " ").count == 14)
        #expect(heading[0].count == line.count)
        #expect(heading.allSatisfy { $0.count <= 120 } && line.count <= 120)
    }

    @Test func `the table in Markdown has the same cells`() {
        var report = Reports.report()
        report.rows = [
            BenchRow(transport: .sse, rate: 0.5, outcome: .success(Reports.figures())),
            BenchRow(transport: .ws, rate: 1, outcome: .failure(BenchFault("no"))),
        ]
        let lines = ReportTable.markdown(report).split(separator: "\n")
        #expect(lines.count == 4 && lines.allSatisfy { $0.count { $0 == "|" } == 15 })
        #expect(lines[0].hasPrefix("| transport | rate, /s | p50, ms | "))
        #expect(lines[1].hasPrefix("| --- | ---: | ---: | "))
        #expect(
            lines[2].split(separator: "|").map { $0.filter { $0 != " " } }
                == ReportTable.line(report.rows[0]).split(separator: " ").map(String.init))
        #expect(lines[3].hasPrefix("| WebSocket | 1 | failed |  |"))
    }

    @Test func `cells that are too long stay apart`() {
        var figures = Reports.figures(123_456_789)
        figures.lost = 12_345_678
        let line = ReportTable.line(BenchRow(transport: .ws, rate: 10_000, outcome: .success(figures)))
        #expect(line.split(separator: " ").count == 14)
    }

    @Test func `a processor time that the server does not tell is not guessed`() {
        var figures = Reports.figures()
        figures.processorSeconds = nil
        let row = BenchRow(transport: .ws, rate: 1, outcome: .success(figures))
        #expect(ReportTable.line(row).contains(" unknown "))
        var report = Reports.report()
        report.server.quietShare = nil
        #expect(
            ReportTable.notes(report) == [
                "The server's /metrics has no process_cpu_seconds_total: what it costs is unknown."
            ])
    }

    @Test func `what is to be known is said`() {
        var report = Reports.report()
        #expect(ReportTable.notes(report).count == 1 && report.isSound)
        report.server.isOwn = false
        #expect(ReportTable.notes(report).count == 2)
        report.server.isOwn = true
        var (busy, late, lossy) = (Reports.figures(), Reports.figures(), Reports.figures())
        busy.clientSeconds = 9.5
        late.latenessMax = 250
        (lossy.lost, lossy.repeated) = (3, 1)
        report.rows = [
            BenchRow(transport: .poll, rate: 1, outcome: .success(busy)),
            BenchRow(transport: .sse, rate: 10, outcome: .success(late)),
            BenchRow(transport: .ws, rate: 100, outcome: .success(lossy)),
            BenchRow(transport: .ndjson, rate: 100, outcome: .failure(BenchFault("the server cut a stream"))),
        ]
        #expect(
            ReportTable.notes(report).dropFirst() == [
                "short-poll at 1/s: this process had no time left; the latencies are its own.",
                "SSE at 10/s: an event was sent 250 ms late; the rate did not hold.",
                "WebSocket at 100/s: 3 events were lost and 1 came twice.",
                "NDJSON at 100/s failed: the server cut a stream.",
            ])
        #expect(!report.isSound)
        #expect(ReportTable.line(report.rows[3]).hasSuffix("failed"))
    }

    @Test func `a run that was cut short is not sound`() {
        var report = Reports.report()
        report.isComplete = false
        #expect(!report.isSound)
    }

    @Test func `the JSON has the documented fields`() throws {
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(try Reports.report().json)) as? [String: Any])
        #expect(
            Set(object.keys) == ["format", "date", "complete", "sound", "machine", "server", "plan", "results"])
        #expect(object["format"] as? Int == 1 && object["date"] as? String == "2023-11-14T22:13:20Z")
        let server = try #require(object["server"] as? [String: Any])
        #expect(Set(server.keys) == ["url", "own", "version", "loops", "cpu_exported", "quiet_cpu_share"])
        let plan = try #require(object["plan"] as? [String: Any])
        #expect(
            Set(plan.keys) == [
                "transports", "readers", "rates", "size_bytes", "duration_s", "warm_up_s", "interval_s", "wait_s",
            ])
        let results = try #require(object["results"] as? [[String: Any]])
        #expect(results.count == 15)
        #expect(Set(results[0].keys) == ["transport", "rate", "ok", "figures"])
        let figures = try #require(results[0]["figures"] as? [String: Any])
        #expect(
            Set(figures.keys) == [
                "seconds", "published", "deliveries", "lost", "repeated", "latency_ms", "requests", "full_answers",
                "empty_answers", "unchanged_answers", "reconnections", "bytes_received", "bytes_sent",
                "requests_per_event", "empty_per_event", "bytes_received_per_event", "bytes_sent_per_event",
                "server_cpu_s", "server_cpu_us_per_event", "client_cpu_share", "publisher_late_ms_max", "opening",
            ])
        #expect(figures["requests_per_event"] as? Double == 1.2)
        let latency = try #require(figures["latency_ms"] as? [String: Any])
        #expect(Set(latency.keys) == ["count", "p50", "p90", "p99", "max"])
        #expect(latency["p90"] as? Double == 1.25)
    }

    @Test func `a failed row has a problem and no figures`() throws {
        var report = Reports.report()
        report.rows = [BenchRow(transport: .ws, rate: 1, outcome: .failure(BenchFault("no")))]
        let object = try #require(try JSONSerialization.jsonObject(with: Data(try report.json)) as? [String: Any])
        let row = try #require((object["results"] as? [[String: Any]])?.first)
        #expect(row["ok"] as? Bool == false && row["problem"] as? String == "WebSocket at 1/s failed: no.")
        #expect(row["figures"] == nil)
    }
}
