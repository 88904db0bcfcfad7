import Foundation
import Testing

#if canImport(FoundationXML)
import FoundationXML
#endif

@testable import HeraldBench

@Suite struct PlotTests {
    /// Plans and reports that a plot has to hold: the default, one row, the most rows, long numbers, failures.
    private static var reports: [(name: String, report: BenchReport)] {
        var single = BenchPlan()
        (single.transports, single.rates, single.readers) = ([.ws], [0.1], 1)
        var most = BenchPlan()
        (most.rates, most.readers, most.size) = ((0..<16).map { 9_985 + Double($0) }, 20_000, 262_144)
        (most.interval, most.duration) = (.milliseconds(1234), .milliseconds(3_599_999))
        var long = Reports.report(most)
        long.server.version = "1.2.3-beta.4+build.5678"
        long.machine.system = "Debian GNU/Linux 12 (bookworm) with a kernel that has a very long name indeed 6.18.44"
        var failed = Reports.report()
        failed.rows[3] = BenchRow(transport: .longpoll, rate: 1, outcome: .failure(BenchFault("no <&> \u{1}")))
        failed.rows.removeLast()
        var empty = Figures()
        empty.seconds = 1
        failed.rows[0] = BenchRow(transport: .poll, rate: 1, outcome: .success(empty))
        var nothing = Reports.report()
        nothing.rows = []
        return [
            ("default", Reports.report()), ("single", Reports.report(single)), ("most", long), ("failed", failed),
            ("nothing", nothing),
        ]
    }

    @Test func `a plot is well-formed XML`() {
        for (name, report) in Self.reports {
            let parser = XMLParser(data: Data(report.svg))
            #expect(parser.parse(), "\(name): \(parser.parserError.map { "\($0)" } ?? "")")
        }
    }

    @Test func `no text lies on another, and none leaves the page`() {
        for (name, report) in Self.reports {
            let plot = report.plot
            let texts = plot.drawing.texts
            for (index, (content, box)) in texts.enumerated() {
                #expect(box.x >= 0 && box.x + box.width <= ReportPlot.width, "\(name): \(content) leaves the page")
                #expect(box.y >= 0 && box.y + box.height <= plot.height, "\(name): \(content) leaves the page")
                for (other, otherBox) in texts[(index + 1)...] where box.overlaps(otherBox) {
                    Issue.record("\(name): \"\(content)\" lies on \"\(other)\"")
                }
            }
        }
    }

    @Test func `this test would see labels that overlap`() {
        var drawing = SVGDrawing()
        drawing.text("one label", x: 10, y: 20)
        drawing.text("another", x: 30, y: 22)
        drawing.text("below", x: 10, y: 40)
        let boxes = drawing.texts.map(\.box)
        #expect(boxes[0].overlaps(boxes[1]) && !boxes[0].overlaps(boxes[2]))
    }

    @Test func `the plot says what it shows, in both schemes`() {
        let svg = String(decoding: Reports.report().svg, as: UTF8.self)
        for word in [
            "<title>", "prefers-color-scheme:dark", "milliseconds", "Bytes on the wire", "Microseconds", "Requests",
            "short-poll", "long-poll", "SSE", "NDJSON", "WebSocket", "100/s", "100 readers", "events of 128 bytes",
            "Herald 1.2.3 with 2 loops", "2023-11-14",
        ] {
            #expect(svg.contains(word), "\(word)")
        }
        for transport in BenchTransport.allCases {
            #expect(svg.components(separatedBy: ".\(transport.rawValue){").count == 3, "a colour for light and dark")
        }
    }

    @Test func `only what was measured is in the legend`() {
        var plan = BenchPlan()
        plan.transports = [.poll, .sse]
        let texts = Reports.report(plan).plot.drawing.texts.map(\.content)
        #expect(texts.contains("SSE") && !texts.contains("WebSocket") && !texts.contains("NDJSON"))
    }

    @Test func `text is escaped`() {
        var drawing = SVGDrawing()
        drawing.text("a<b>&\"c\"\u{0}", x: 0, y: 0)
        let svg = drawing.document(width: 10, height: 10, title: "<t>", style: "")
        #expect(svg.contains("a&lt;b&gt;&amp;&quot;c&quot;\u{FFFD}</text>") && svg.contains("<title>&lt;t&gt;</title>"))
    }

    @Test(arguments: [
        ([1.0, 10], 0...1), ([0.5, 3], -1...1), ([2, 3], 0...1), ([0, 7], 0...1), ([], 0...1), ([0.02, 5000], -2...4),
        ([100], 2...3),
    ])
    func `an axis goes from power to power`(values: [Double], exponents: ClosedRange<Int>) {
        #expect(LogAxis(values).exponents == exponents)
    }

    @Test func `values stand where their logarithms are`() {
        let axis = LogAxis([0.1, 1000])
        #expect(axis.share(of: 0.1) == 0 && axis.share(of: 10) == 0.5 && axis.share(of: 1000) == 1)
        #expect(axis.share(of: 0) == nil && axis.share(of: .nan) == nil)
        #expect(axis.labels.map(\.text) == ["0.1", "1", "10", "100", "1000"])
        #expect(axis.labels.map(\.share) == [0, 0.25, 0.5, 0.75, 1])
        let long = LogAxis([0.002, 3e9]).labels.map(\.text)
        #expect(long.prefix(2) == ["0.001", "0.01"])
        #expect(long.suffix(8) == ["1000", "10 k", "100 k", "1 M", "10 M", "100 M", "1 G", "10 G"])
    }
}
