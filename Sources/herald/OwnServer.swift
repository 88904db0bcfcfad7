import Dispatch
import Foundation
import HeraldBench

/// A server that is started for a command and ended with it: this program, as another process.
enum OwnServer {
    /// How long it may take to start, and after SIGTERM to end.
    private static let patience: Duration = .seconds(15)

    /// What it prints before its address when it is ready.
    private static let readyMark = "listening on "

    /// Starts a server on a free port of loopback, lends its address to the body, and ends it.
    static func run<Result: Sendable>(
        flags: [String], _ body: (String) async throws -> Result
    ) async throws -> Result {
        let output = Pipe()
        let process = try start(flags, output)
        do {
            let result = try await body(try await address(process, output))
            await end(process)
            return result
        } catch {
            await end(process)
            throw error
        }
    }

    private static func start(_ flags: [String], _ output: Pipe) throws -> Process {
        guard let program = Bundle.main.executableURL else {
            throw BenchFault("the server cannot be started: this program does not know its own file")
        }
        let process = Process()
        process.executableURL = program
        process.arguments =
            ["serve", "--listen", "127.0.0.1:0", "--log-level", "error", "--drain-timeout", "2s"] + flags
        // Settings of the caller's own server are not for this one.
        process.environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("HERALD_") }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        do {
            try process.run()
        } catch {
            throw BenchFault("the server cannot be started: \(error.localizedDescription)")
        }
        return process
    }

    /// Waits for the line by which the server says where it listens.
    private static func address(_ process: Process, _ output: Pipe) async throws -> String {
        let limit = Task {
            try await Task.sleep(for: patience)
            // Its end ends its output, and with that the wait.
            process.terminate()
        }
        defer { limit.cancel() }
        let line = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                DispatchQueue.global().async { continuation.resume(returning: firstLine(of: output)) }
            }
        } onCancel: {
            process.terminate()
        }
        try Task.checkCancellation()
        guard let mark = line.firstRange(of: readyMark) else {
            throw BenchFault("the server did not start")
        }
        return String(line[mark.upperBound...].prefix { $0 != " " })
    }

    /// Reads until a line has come or no more can come. Blocks its thread.
    private static func firstLine(of output: Pipe) -> String {
        var line: [UInt8] = []
        while !line.contains(0x0A) {
            let piece = output.fileHandleForReading.availableData
            if piece.isEmpty { break }
            line.append(contentsOf: piece)
        }
        return String(decoding: line.prefix { $0 != 0x0A }, as: UTF8.self)
    }

    /// Has the server drain and waits for its end; who does not end is killed. A cancellation does not shorten it.
    private static func end(_ process: Process) async {
        if process.isRunning { process.terminate() }
        await Task {
            let deadline = ContinuousClock.now + patience
            while process.isRunning, ContinuousClock.now < deadline {
                try? await Task.sleep(for: .milliseconds(20))
            }
        }.value
        if process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        if process.terminationStatus != 0 {
            Terminal.report("The server ended with \(process.terminationStatus).")
        }
    }
}
