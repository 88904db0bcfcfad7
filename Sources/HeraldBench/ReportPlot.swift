// The plot of a run: four panels, one below the other, each with a line for every measurement, grouped by rate.
//
// Values stand as marks on a logarithmic axis and as numbers to the right of it, in a column of their own: so no number
// can come to stand on a mark or on another. Colours are classes, because the style sheet has two sets of them, for
// light and for dark surroundings.

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

extension BenchReport {
    /// The report as a plot.
    public var svg: [UInt8] { Array(plot.svg.utf8) }

    var plot: ReportPlot { ReportPlot(self) }
}

/// A run, laid out.
struct ReportPlot: Sendable {
    static let width = 960.0

    private static let margin = 24.0
    private static let nameRight = 186.0
    private static let axisLeft = 200.0
    private static let axisRight = 690.0
    private static let valueLeft = 710.0
    private static let rowHeight = 17.0
    private static let groupGap = 10.0
    private static let panelHead = 52.0
    private static let panelGap = 22.0

    private static let title = "What each transport costs"

    private static let style = """
        .paper{fill:#ffffff}.ink{fill:#1d2126}.soft{fill:#59606a}.grid{stroke:#d3d7dc}.guide{stroke:#eceef1}
        .poll{fill:#7a818b;stroke:#7a818b}.longpoll{fill:#b97a0a;stroke:#b97a0a}.sse{fill:#2f7fc1;stroke:#2f7fc1}
        .ndjson{fill:#7a5cc0;stroke:#7a5cc0}.ws{fill:#d2552d;stroke:#d2552d}.key{fill:#1d2126;stroke:#1d2126}
        .ring{fill:#ffffff;stroke-width:2}
        @media (prefers-color-scheme:dark){
        .paper{fill:#14171b}.ink{fill:#e8eaed}.soft{fill:#a6adb7}.grid{stroke:#3b424b}.guide{stroke:#252a30}
        .poll{fill:#a4abb5;stroke:#a4abb5}.longpoll{fill:#e2a63c;stroke:#e2a63c}.sse{fill:#62abe6;stroke:#62abe6}
        .ndjson{fill:#a78ce8;stroke:#a78ce8}.ws{fill:#f07c55;stroke:#f07c55}.key{fill:#e8eaed;stroke:#e8eaed}
        .ring{fill:#14171b}
        }
        """

    private(set) var drawing = SVGDrawing()
    private(set) var height = margin
    private let report: BenchReport

    init(_ report: BenchReport) {
        self.report = report
        drawHead()
        drawLegend()
        for panel in Panel.all { draw(panel) }
        height += Self.margin - Self.panelGap
    }

    /// The plot as SVG.
    var svg: String {
        drawing.document(width: Self.width, height: height, title: Self.title, style: Self.style)
    }

    // MARK: Head and legend

    private mutating func drawHead() {
        height += 14
        drawing.text(Self.title, x: Self.margin, y: height, size: 18, isBold: true)
        let (plan, server) = (report.plan, report.server)
        let loops = server.loops.map { " with \($0) \($0 == 1 ? "loop" : "loops")" } ?? ""
        let facts = [
            "\(plan.readers) \(plan.readers == 1 ? "reader" : "readers")", "events of \(plan.size) bytes",
            "\(plan.duration.brief) each", "short-poll every \(plan.interval.brief)",
            "long-poll held for \(plan.wait.brief)", "Herald \(server.version ?? "of unknown version")\(loops)",
            "readers' machine: \(report.machine.processors) processors, \(report.machine.system)",
            report.date.formatted(.iso8601.year().month().day()),
        ]
        height += 8
        for line in Self.wrapped(facts, size: 12) {
            height += 16
            drawing.text(line, x: Self.margin, y: height, size: 12, class: "soft")
        }
    }

    /// The items joined by points, in as many lines as they need.
    private static func wrapped(_ items: [String], size: Double) -> [String] {
        var lines: [String] = []
        for item in items {
            if let last = lines.last, SVGDrawing.width(of: last + " · " + item, size: size) <= width - 2 * margin {
                lines[lines.count - 1] = last + " · " + item
            } else {
                lines.append(item)
            }
        }
        return lines
    }

    private mutating func drawLegend() {
        height += 12
        var x = Self.margin
        height += 14
        for transport in BenchTransport.allCases where report.plan.transports.contains(transport) {
            drawing.circle(x + 5, height - 4, radius: 4.5, class: transport.rawValue)
            x = label(transport.title, after: x + 15)
        }
        height += 20
        x = Self.margin
        drawing.circle(x + 5, height - 4, radius: 4.5, class: "key")
        x = label("first number", after: x + 15)
        drawing.circle(x + 5, height - 4, radius: 4, class: "key ring")
        x = label("second number", after: x + 15)
        drawing.line(x, height - 4, x + 22, height - 4, width: 4, class: "key")
        x = label("from the median to the 99th percentile", after: x + 28)
        drawing.line(x + 3, height - 10, x + 3, height + 2, width: 2, class: "key")
        _ = label("the slowest", after: x + 11)
        height += Self.panelGap
    }

    /// Puts a label of the legend; gives where the next item begins.
    private mutating func label(_ text: String, after x: Double) -> Double {
        drawing.text(text, x: x, y: height, size: 12)
        return x + SVGDrawing.width(of: text, size: 12) + 22
    }

    // MARK: Panels

    private mutating func draw(_ panel: Panel) {
        let top = height
        drawing.text(panel.title, x: Self.margin, y: top + 14, size: 14, isBold: true)
        drawing.text(panel.valueTitle, x: Self.valueLeft, y: top + 38, size: 11, class: "soft")
        let axis = LogAxis(report.rows.compactMap(\.figures).flatMap { panel.marks($0).flatMap(\.values) })
        let rates = report.plan.rates.filter { rate in report.rows.contains { $0.rate == rate } }
        let rows = rates.map { rate in report.rows.filter { $0.rate == rate } }
        let lines = Double(rows.reduce(0) { $0 + $1.count }) * Self.rowHeight
        height = top + Self.panelHead + lines + Double(max(rows.count - 1, 0)) * Self.groupGap
        for (share, text) in axis.labels {
            let x = Self.axisLeft + share * (Self.axisRight - Self.axisLeft)
            drawing.line(x, top + 44, x, height - 4, class: "grid")
            drawing.text(text, x: x, y: top + 38, size: 10.5, anchor: .middle, class: "soft")
        }
        var y = top + Self.panelHead
        for (rate, group) in zip(rates, rows) {
            drawing.text("\(rate.brief)/s", x: Self.margin, y: y + 12, size: 12, isBold: true)
            for row in group {
                draw(row, panel, axis, y)
                y += Self.rowHeight
            }
            y += Self.groupGap
        }
        height += Self.panelGap
    }

    private mutating func draw(_ row: BenchRow, _ panel: Panel, _ axis: LogAxis, _ y: Double) {
        let middle = y + 8
        drawing.text(row.transport.title, x: Self.nameRight, y: y + 12, size: 12, anchor: .end)
        drawing.line(Self.axisLeft, middle, Self.axisRight, middle, class: "guide")
        guard let figures = row.figures else {
            drawing.text("failed", x: Self.valueLeft, y: y + 12, size: 12)
            return
        }
        for mark in panel.marks(figures) { draw(mark, row.transport.rawValue, axis, middle) }
        drawing.text(panel.text(figures), x: Self.valueLeft, y: y + 12, size: 12)
    }

    private mutating func draw(_ mark: Panel.Mark, _ name: String, _ axis: LogAxis, _ y: Double) {
        func x(_ value: Double) -> Double? {
            axis.share(of: value).map { Self.axisLeft + $0 * (Self.axisRight - Self.axisLeft) }
        }
        switch mark {
        case .span(let low, let high):
            if let left = x(low), let right = x(high) { drawing.line(left, y, right, y, width: 4, class: name) }
        case .dot(let value):
            if let x = x(value) { drawing.circle(x, y, radius: 4.5, class: name) }
        case .ring(let value):
            if let x = x(value) { drawing.circle(x, y, radius: 4, class: "\(name) ring") }
        case .tick(let value):
            if let x = x(value) { drawing.line(x, y - 6, x, y + 6, width: 2, class: name) }
        }
    }
}

/// One kind of figure in the plot.
private struct Panel: Sendable {
    /// What stands on the axis.
    enum Mark: Sendable {
        case span(Double, Double)
        case dot(Double)
        case ring(Double)
        case tick(Double)

        var values: [Double] {
            switch self {
            case .span(let low, let high): [low, high]
            case .dot(let value), .ring(let value), .tick(let value): [value]
            }
        }
    }

    let title: String
    let valueTitle: String
    let marks: @Sendable (Figures) -> [Mark]
    let text: @Sendable (Figures) -> String

    static let all = [
        Panel(
            title: "Latency in milliseconds, from when an event is published until a reader has it",
            valueTitle: "median · 99th percentile · slowest",
            marks: { figures in
                guard let latency = figures.latency else { return [] }
                return [.span(latency.p50, latency.p99), .tick(latency.max), .dot(latency.p50)]
            },
            text: { text([$0.latency?.p50, $0.latency?.p99, $0.latency?.max]) }),
        Panel(
            title: "Requests for each event that a reader gets", valueTitle: "all · those that brought no event",
            marks: { marks($0.requestsPerEvent, $0.emptyPerEvent) },
            text: { text([$0.requestsPerEvent, $0.emptyPerEvent]) }),
        Panel(
            title: "Bytes on the wire for each event that a reader gets", valueTitle: "received · sent",
            marks: { marks($0.bytesReceivedPerEvent, $0.bytesSentPerEvent) },
            text: { text([$0.bytesReceivedPerEvent, $0.bytesSentPerEvent]) }),
        Panel(
            title: "Microseconds of the server's processor for each event that a reader gets",
            valueTitle: "publishing included",
            marks: { marks($0.processorPerEvent, nil) },
            text: { $0.processorPerEvent == nil ? "not exported by the server" : text([$0.processorPerEvent]) }),
    ]

    /// The ring comes first: where both are the same, the dot is on top of it.
    private static func marks(_ dot: Double?, _ ring: Double?) -> [Mark] {
        (ring.map { [.ring($0)] } ?? []) + (dot.map { [.dot($0)] } ?? [])
    }

    private static func text(_ values: [Double?]) -> String {
        values.map { $0.map(Figure.text) ?? "none" }.joined(separator: " · ")
    }
}
