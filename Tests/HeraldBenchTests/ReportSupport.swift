import Foundation

@testable import HeraldBench

/// Reports with figures that no server has made.
enum Reports {
    static func figures(_ factor: Double = 1) -> Figures {
        var figures = Figures()
        figures.counts = Counts(
            requests: 1200, fullAnswers: 1000, emptyAnswers: 50, unchangedAnswers: 150, deliveries: 1000,
            bytesReceived: Int(321_000 * factor), bytesSent: 123_400)
        figures.seconds = 10
        figures.latency = Figures.Latency(
            p50: 0.5 * factor, p90: 1.25 * factor, p99: 20 * factor, max: 31.4 * factor, count: 1000)
        figures.published = 12
        figures.processorSeconds = 0.0125 * factor
        figures.clientSeconds = 1.5
        figures.opening = Figures.Opening(seconds: 0.25, bytesReceived: 30_000, bytesSent: 20_000)
        return figures
    }

    /// A row for each transport and rate of the plan, no two of them alike.
    static func report(_ plan: BenchPlan = BenchPlan()) -> BenchReport {
        var report = BenchReport(plan: plan)
        report.date = Date(timeIntervalSince1970: 1_700_000_000)
        report.machine = Machine(system: "Linux 6.1", processors: 2)
        report.server = BenchReport.Server(
            url: "http://127.0.0.1:1", isOwn: true, version: "1.2.3", loops: 2, quietShare: 0.001)
        for (index, transport) in plan.transports.enumerated() {
            for (step, rate) in plan.rates.enumerated() {
                let factor = Double(index + 1) * Double(step * step * step * 10 + 1)
                report.rows.append(
                    BenchRow(transport: transport, rate: rate, outcome: .success(figures(factor))))
            }
        }
        report.isComplete = true
        return report
    }
}
