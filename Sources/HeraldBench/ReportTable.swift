#if canImport(Darwin)
import Darwin
#elseif canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A run as a table for people, line by line: rows are shown as they come.
public struct ReportTable: Sendable {
    private static let columns: [(title: String, unit: String, width: Int)] = [
        ("TRANSPORT", "", 11), ("RATE", "/s", 6), ("P50", "ms", 8), ("P90", "ms", 8), ("P99", "ms", 8),
        ("MAX", "ms", 8), ("REQUESTS", "/event", 10), ("EMPTY", "/event", 8), ("RECEIVED", "B/event", 10),
        ("SENT", "B/event", 9), ("SERVER", "µs/event", 10), ("LOST", "", 6), ("TWICE", "", 7), ("CLIENT", "busy", 8),
    ]

    /// The two lines above the rows.
    public static var heading: [String] {
        [line(columns.map(\.title)), line(columns.map(\.unit))]
    }

    /// The line of a measurement.
    public static func line(_ row: BenchRow) -> String {
        row.figures.map { line(cells(row, $0)) } ?? line([row.transport.title, row.rate.brief]) + "   failed"
    }

    /// The same table in Markdown, with the units beside the titles.
    public static func markdown(_ report: BenchReport) -> String {
        let titles = columns.map { $0.unit.isEmpty ? $0.title.lowercased() : $0.title.lowercased() + ", " + $0.unit }
        let rows = report.rows.map { row in
            row.figures.map { cells(row, $0) }
                ?? [row.transport.title, row.rate.brief, "failed"] + columns.dropFirst(3).map { _ in "" }
        }
        let rules = columns.indices.map { $0 == 0 ? "---" : "---:" }
        return ([titles, rules] + rows).map { "| " + $0.joined(separator: " | ") + " |\n" }.joined()
    }

    private static func cells(_ row: BenchRow, _ figures: Figures) -> [String] {
        let first = [row.transport.title, row.rate.brief]
        let latency = figures.latency
        let numbers = [
            latency?.p50, latency?.p90, latency?.p99, latency?.max, figures.requestsPerEvent, figures.emptyPerEvent,
            figures.bytesReceivedPerEvent, figures.bytesSentPerEvent,
        ].map { $0.map(Figure.text) ?? "-" }
        let processor = figures.processorPerEvent.map(Figure.text) ?? "unknown"
        let rest = ["\(figures.lost)", "\(figures.repeated)", "\(Int((figures.clientShare * 100).rounded()))%"]
        return first + numbers + [processor] + rest
    }

    /// What is to be known about the whole, each as a sentence.
    public static func notes(_ report: BenchReport) -> [String] {
        var notes: [String] = []
        if let share = report.server.quietShare {
            let percent = Figure.text(share * 100)
            notes.append("Without readers the server used \(percent) % of a processor; SERVER has that in it.")
            if !report.server.isOwn {
                notes.append("SERVER counts all that the server did, for other clients, too.")
            }
        } else {
            notes.append("The server's /metrics has no process_cpu_seconds_total: what it costs is unknown.")
        }
        let measured = report.rows.compactMap { row in row.figures.map { (row.name, $0) } }
        for (name, figures) in measured where figures.isSaturated {
            notes.append("\(name): this process had no time left; the latencies are its own.")
        }
        for (name, figures) in measured where figures.isHeldUp {
            let late = Figure.text(figures.latenessMax)
            notes.append("\(name): an event was sent \(late) ms late; the rate did not hold.")
        }
        return notes + report.rows.compactMap(\.problem)
    }

    /// The first column to the left, the others to the right.
    private static func line(_ cells: [String]) -> String {
        var line = ""
        for (index, (cell, column)) in zip(cells, columns).enumerated() {
            let padding = String(repeating: " ", count: max(column.width - cell.count, index == 0 ? 0 : 1))
            line += index == 0 ? cell + padding : padding + cell
        }
        while line.last == " " { line.removeLast() }
        return line
    }
}

/// How numbers are written for people.
enum Figure {
    /// Three significant digits, whole from a thousand on: `0.0123`, `1.50`, `42.0`, `1234`.
    static func text(_ value: Double) -> String {
        guard value.isFinite, value > 0 else { return "0" }
        guard value >= 0.0001 else { return "<0.0001" }
        // What rounds up to the next power of ten has a digit less behind the point.
        let rounded = significant(value)
        let decimals = min(6, max(0, 2 - Int(floor(log10(rounded)))))
        return fixed(rounded, decimals)
    }

    /// The number with three digits that count, the others zero; a thousand and more to the next whole number.
    private static func significant(_ value: Double) -> Double {
        let scale = pow(10, max(0, 2 - floor(log10(value))))
        return (value * scale).rounded() / scale
    }

    private static func fixed(_ value: Double, _ decimals: Int) -> String {
        guard decimals > 0 else { return "\(Int64(value.rounded()))" }
        let scale = Int64(pow(10, Double(decimals)))
        let units = Int64((value * Double(scale)).rounded())
        let fraction = "\(units % scale)"
        return "\(units / scale)." + String(repeating: "0", count: decimals - fraction.count) + fraction
    }
}
