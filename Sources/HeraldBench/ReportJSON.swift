#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

extension BenchReport {
    /// The report as JSON. `docs/transports.md` names the fields; `format` grows when one of them changes its meaning.
    public var json: [UInt8] {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            encoder.keyEncodingStrategy = .convertToSnakeCase
            encoder.dateEncodingStrategy = .iso8601
            return Array(try encoder.encode(Document(self))) + [0x0A]
        }
    }

    private struct Document: Encodable {
        let format = 1
        let date: Date
        let complete, sound: Bool
        let machine: MachineFacts
        let server: ServerFacts
        let plan: PlanFacts
        let results: [ResultFacts]

        init(_ report: BenchReport) {
            date = report.date
            complete = report.isComplete
            sound = report.isSound
            machine = MachineFacts(system: report.machine.system, processors: report.machine.processors)
            server = ServerFacts(report.server)
            plan = PlanFacts(report.plan)
            results = report.rows.map(ResultFacts.init)
        }
    }

    private struct MachineFacts: Encodable {
        let system: String
        let processors: Int
    }

    private struct ServerFacts: Encodable {
        let url: String
        let own: Bool
        let version: String?
        let loops: Int?
        let cpuExported: Bool
        let quietCpuShare: Double?

        init(_ server: Server) {
            url = server.url
            own = server.isOwn
            version = server.version
            loops = server.loops
            cpuExported = server.quietShare != nil
            quietCpuShare = server.quietShare
        }
    }

    private struct PlanFacts: Encodable {
        let transports: [String]
        let readers: Int
        let rates: [Double]
        let sizeBytes: Int
        let durationS, warmUpS, intervalS, waitS: Double

        init(_ plan: BenchPlan) {
            transports = plan.transports.map(\.rawValue)
            (readers, rates, sizeBytes) = (plan.readers, plan.rates, plan.size)
            (durationS, warmUpS) = (plan.duration.inSeconds, plan.warmUp.inSeconds)
            (intervalS, waitS) = (plan.interval.inSeconds, plan.wait.inSeconds)
        }
    }

    private struct ResultFacts: Encodable {
        let transport: String
        let rate: Double
        let ok: Bool
        let problem: String?
        let figures: FigureFacts?

        init(_ row: BenchRow) {
            (transport, rate) = (row.transport.rawValue, row.rate)
            (ok, problem) = (row.problem == nil, row.problem)
            figures = row.figures.map(FigureFacts.init)
        }
    }

    private struct FigureFacts: Encodable {
        let seconds: Double
        let published, deliveries, lost, repeated: Int
        let latencyMs: LatencyFacts?
        let requests, fullAnswers, emptyAnswers, unchangedAnswers, reconnections: Int
        let bytesReceived, bytesSent: Int
        let requestsPerEvent, emptyPerEvent, bytesReceivedPerEvent, bytesSentPerEvent: Double?
        let serverCpuS, serverCpuUsPerEvent: Double?
        let clientCpuShare, publisherLateMsMax: Double
        let opening: OpeningFacts

        init(_ figures: Figures) {
            let counts = figures.counts
            (seconds, published, deliveries) = (figures.seconds, figures.published, counts.deliveries)
            (lost, repeated) = (figures.lost, figures.repeated)
            latencyMs = figures.latency.map {
                LatencyFacts(count: $0.count, p50: $0.p50, p90: $0.p90, p99: $0.p99, max: $0.max)
            }
            (requests, fullAnswers) = (counts.requests, counts.fullAnswers)
            (emptyAnswers, unchangedAnswers) = (counts.emptyAnswers, counts.unchangedAnswers)
            reconnections = counts.reconnections
            (bytesReceived, bytesSent) = (counts.bytesReceived, counts.bytesSent)
            (requestsPerEvent, emptyPerEvent) = (figures.requestsPerEvent, figures.emptyPerEvent)
            (bytesReceivedPerEvent, bytesSentPerEvent) = (figures.bytesReceivedPerEvent, figures.bytesSentPerEvent)
            (serverCpuS, serverCpuUsPerEvent) = (figures.processorSeconds, figures.processorPerEvent)
            (clientCpuShare, publisherLateMsMax) = (figures.clientShare, figures.latenessMax)
            opening = OpeningFacts(
                seconds: figures.opening.seconds, bytesReceived: figures.opening.bytesReceived,
                bytesSent: figures.opening.bytesSent)
        }
    }

    private struct LatencyFacts: Encodable {
        let count: Int
        let p50, p90, p99, max: Double
    }

    private struct OpeningFacts: Encodable {
        let seconds: Double
        let bytesReceived, bytesSent: Int
    }
}
