/// What a server says of itself at `/metrics`.
struct MetricsScrape: Sendable, Equatable {
    /// Seconds of processor time that the process has used.
    var processorSeconds: Double?

    /// The server's version.
    var version: String?

    /// The server's event loops.
    var loops: Int?

    /// Reads Prometheus' text; what it does not have stays nil.
    init(_ text: String) {
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let words = line.split(separator: " ")
            guard words.count >= 2 else { continue }
            switch words[0] {
            case "process_cpu_seconds_total": processorSeconds = Double(words[1])
            case "herald_loops": loops = Int(words[1])
            case let name where name.hasPrefix("herald_build_info{version=\""):
                version = name.split(separator: "\"").dropFirst().first.map(String.init)
            default: break
            }
        }
    }
}
