import ArgumentParser
import Foundation
import Herald
import HeraldBench
import HeraldClient

/// `herald bench`: measures what Herald costs on this machine and network.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure what Herald costs on this machine and network.",
        subcommands: [TransportsCommand.self])
}

extension BenchCommand {
    /// `herald bench transports`: the same events over each transport, and what that takes.
    struct TransportsCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "transports",
            abstract: "Compare the transports: latency, requests, bytes and processor time.",
            discussion: """
                For each transport and each rate, readers are opened on one topic of their own, events are published \
                to it, and it is counted what the readers need to get them. Without --server the program starts a \
                server of its own and ends it again: another process, so that its processor time is not mixed with the \
                readers'. At a server that wants tokens, the token must be allowed to publish and to subscribe to \
                herald-bench/**.

                  herald bench transports
                  herald bench transports --transports poll,ws --readers 500 --rate 1,50 --interval 5s
                  herald bench transports --json run.json --svg run.svg --markdown run.md
                  herald bench transports --server https://herald.example --token-file token

                A row a measurement: latency from when an event is due to be published until a reader has it; \
                requests, and answers without an event, for each event that a reader gets; bytes of the readers' \
                connections, below HTTP and TLS, for each; the server's processor time for each, publishing included; \
                events lost and events that came twice; and how busy this process was. docs/transports.md explains \
                them, and the fields of the JSON.

                Exits with 0 if all was measured and no event was lost or came twice, else with 1; with 130 after \
                Ctrl-C, when what was measured until then is shown and written.
                """)

        @Option(
            help: ArgumentHelp(
                "Which, in this order: poll, longpoll, sse, ndjson, ws. (default: all)", valueName: "names"),
            transform: Self.transports)
        var transports = BenchTransport.allCases

        @Option(help: ArgumentHelp("Readers of each measurement, 1 to \(BenchPlan.readersMax).", valueName: "number"))
        var readers = BenchPlan().readers

        @Option(
            help: ArgumentHelp(
                "Events a second, 0.1 to 10000; several with commas, each a measurement. (default: 1,10,100)",
                valueName: "rates"),
            transform: Self.rates)
        var rate = BenchPlan().rates

        @Option(
            help: ArgumentHelp(
                "Bytes of an event's data, such as 128 or 4KiB; 16 to 256KiB. (default: 128)", valueName: "size"),
            transform: Self.size)
        var size = BenchPlan().size

        @Option(
            help: ArgumentHelp("How long to measure, 1s to 1h. (default: 10s)", valueName: "time"),
            transform: Self.duration)
        var duration = BenchPlan().duration

        @Option(
            help: ArgumentHelp(
                "How long to publish before that, 0s to 5m; for short polls an interval at least. (default: 2s)",
                valueName: "time"),
            transform: Self.duration)
        var warmUp = BenchPlan().warmUp

        @Option(
            help: ArgumentHelp(
                "From one short poll of a reader to its next, 10ms to 30s. (default: 1s)", valueName: "time"),
            transform: Self.duration)
        var interval = BenchPlan().interval

        @Option(
            help: ArgumentHelp(
                "How long the server may hold a long-poll, 1s to 5m. (default: 25s)", valueName: "time"),
            transform: Self.duration)
        var wait = BenchPlan().wait

        @Option(
            help: ArgumentHelp(
                "The address of a server that runs, instead of one that is started for it.", valueName: "url"))
        var server: String?

        @OptionGroup var credentials: CredentialOptions

        @Option(help: ArgumentHelp("Write the results to this file as JSON.", valueName: "file"), completion: .file())
        var json: String?

        @Option(help: ArgumentHelp("Write the results to this file as a plot.", valueName: "file"), completion: .file())
        var svg: String?

        @Option(
            help: ArgumentHelp("Write the table to this file as Markdown.", valueName: "file"), completion: .file())
        var markdown: String?

        /// The files to write, by their flags.
        private var files: [(flag: String, path: String)] {
            [("--json", json), ("--svg", svg), ("--markdown", markdown)].compactMap { flag, path in
                path.map { (flag, $0) }
            }
        }

        /// What the flags ask for.
        var plan: BenchPlan {
            var plan = BenchPlan()
            (plan.transports, plan.readers, plan.rates, plan.size) = (transports, readers, rate, size)
            (plan.duration, plan.warmUp, plan.interval, plan.wait) = (duration, warmUp, interval, wait)
            return plan
        }

        func validate() throws {
            if let problem = plan.problem { throw ValidationError(problem) }
            if server == nil, credentials.isGiven {
                throw ValidationError("--ca and --token-file are for a server that runs: give its --server.")
            }
            for (index, (flag, path)) in files.enumerated() {
                if let other = files[..<index].first(where: { $0.path == path }) {
                    throw ValidationError("\(other.flag) and \(flag) name the same file.")
                }
                if let problem = Self.problem(with: path) { throw ValidationError("\(flag) \(path): \(problem).") }
            }
        }

        func run() async throws {
            try makeRoom()
            let work = Task { try await measure() }
            // Nobody else would end the server that was started, should the terminal go away.
            let interruption = Interruption(on: [SIGINT, SIGTERM, SIGHUP]) { work.cancel() }
            defer { withExtendedLifetime(interruption) {} }
            let report: BenchReport
            do {
                report = try await work.value
            } catch {
                throw Self.exit(for: error)
            }
            try finish(report)
        }

        /// What the process has open besides its readers, with room to spare.
        private static let otherDescriptors = 64

        /// Sees to it that all readers can be open at once.
        private func makeRoom() throws {
            let needed = readers + Self.otherDescriptors
            guard let limit = DescriptorLimit.raise(), limit.now < UInt64(needed) else { return }
            Terminal.report(
                "\(readers) readers need \(needed) descriptors, and this process may have \(limit.now): raise the limit "
                    + "(ulimit -Hn) or take fewer readers.")
            throw ExitCode.failure
        }

        /// Measures at the server that was named, or at one that is started and ended.
        private func measure() async throws -> BenchReport {
            if let server {
                let bench = TransportBench(
                    plan, url: server, isOwnServer: false, token: try credentials.token(),
                    configuration: try credentials.configuration())
                return try await measure(by: bench, at: server)
            }
            return try await OwnServer.run(flags: serverFlags) { url in
                try await measure(by: TransportBench(plan, url: url, isOwnServer: true), at: url)
            }
        }

        /// Enough is kept for readers that are a while late; all else is as a server is by default.
        private var serverFlags: [String] {
            [
                "--retain-events", "\(plan.keptEvents)", "--retain-bytes",
                "\(max(plan.keptBytes, ServerSettings().retainBytes))",
            ]
        }

        private func measure(by bench: TransportBench, at url: String) async throws -> BenchReport {
            let time = Quantities.text(.seconds(plan.expectedTime.components.seconds))
            Terminal.report("\(transports.count * rate.count) measurements at \(url), about \(time).")
            for line in ReportTable.heading { try Terminal.print(line) }
            return try await bench.run { row in try Terminal.print(ReportTable.line(row)) }
        }

        /// Says what is to be known, writes the files, and ends with the code that fits.
        private func finish(_ report: BenchReport) throws {
            for note in ReportTable.notes(report) { Terminal.report(note) }
            do {
                if let json { try Data(try report.json).write(to: URL(filePath: json)) }
                if let svg { try Data(report.svg).write(to: URL(filePath: svg)) }
                if let markdown { try Data(ReportTable.markdown(report).utf8).write(to: URL(filePath: markdown)) }
            } catch {
                Terminal.report("The results could not be written: \(error.localizedDescription)")
                throw ExitCode.failure
            }
            guard report.isComplete else {
                Terminal.report("Interrupted after \(report.rows.count) of \(transports.count * rate.count).")
                throw ExitCode(130)
            }
            if !report.isSound { throw ExitCode.failure }
        }

        private static func exit(for error: any Error) -> any Error {
            switch error {
            case is CancellationError:
                return ExitCode(130)
            case is ClosedOutput:
                return ExitCode.failure
            case HeraldError.unusable(let what):
                return ValidationError("\(what).")
            case let error as BenchFault:
                Terminal.report("\(error.description).")
                return ExitCode.failure
            case let error as HeraldError:
                Terminal.report(error.description)
                return ExitCode.failure
            default:
                return error
            }
        }
    }
}

// MARK: Values of flags

extension BenchCommand.TransportsCommand {
    private static func transports(_ text: String) throws -> [BenchTransport] {
        try items(text).map { name in
            guard let transport = BenchTransport(rawValue: name) else {
                let names = BenchTransport.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("\"\(name)\" is no transport; there are \(names).")
            }
            return transport
        }
    }

    private static func rates(_ text: String) throws -> [Double] {
        try items(text).map { item in
            // Not all that Double reads is a rate: it takes 0x10, 1e3, inf and nan, too.
            guard item.allSatisfy({ ("0"..."9").contains($0) || $0 == "." }), let rate = Double(item) else {
                throw ValidationError("\"\(item)\" is not a number of events a second, such as 10 or 0.5.")
            }
            return rate
        }
    }

    private static func size(_ text: String) throws -> Int {
        guard let size = Quantities.bytes(text) else {
            throw ValidationError("\"\(text)\" is not a size such as 128, 4KiB or 64KiB.")
        }
        return size
    }

    private static func duration(_ text: String) throws -> Duration {
        guard let duration = Quantities.duration(text) else {
            throw ValidationError("\"\(text)\" is not a time such as 250ms, 10s or 5m.")
        }
        return duration
    }

    private static func items(_ text: String) -> [String] {
        text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }

    /// Why a file can't be written to; nil if it can be.
    private static func problem(with path: String) -> String? {
        let files = FileManager.default
        let url = URL(filePath: path)
        if (try? url.resourceValues(forKeys: [.isDirectoryKey]))?.isDirectory == true { return "it is a folder" }
        if files.fileExists(atPath: path) { return files.isWritableFile(atPath: path) ? nil : "it can't be written" }
        let folder = url.deletingLastPathComponent().path
        return files.isWritableFile(atPath: folder) ? nil : "nothing can be written to \(folder)"
    }
}
