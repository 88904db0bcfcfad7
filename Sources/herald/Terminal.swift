#if canImport(Darwin)
import Darwin
#elseif canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif
import Dispatch

/// Standard output was closed by its reader.
struct ClosedOutput: Error {}

/// Input that cannot be read or used.
struct InputError: Error, CustomStringConvertible {
    let description: String
}

/// The process's standard streams, unbuffered: what is written is out when the call returns.
enum Terminal {
    /// Writes a line to standard output.
    static func print(_ line: some Collection<UInt8>) throws(ClosedOutput) {
        guard write(Array(line) + [0x0A], to: STDOUT_FILENO) else { throw ClosedOutput() }
    }

    /// Writes a line to standard output.
    static func print(_ line: String) throws(ClosedOutput) {
        try print(line.utf8)
    }

    /// Writes a sentence to standard error.
    static func report(_ sentence: String) {
        _ = write(Array("herald: \(sentence)\n".utf8), to: STDERR_FILENO)
    }

    /// Writes lines to standard error as they are.
    static func reportLines(_ lines: String) {
        _ = write(Array(lines.utf8), to: STDERR_FILENO)
    }

    /// Whether standard input is a terminal, where somebody would have to type the data.
    static var isInputTyped: Bool { isatty(STDIN_FILENO) == 1 }

    /// Reads what a file holds, up to a bound; `-` is standard input.
    static func contents(of path: String, bytesMax: Int) async throws -> [UInt8] {
        let file = path == "-" ? STDIN_FILENO : unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw InputError(description: "\(path): \(reason(errno)).") }
        defer { if file != STDIN_FILENO { close(file) } }
        var contents: [UInt8] = []
        while true {
            let piece = try await read(file, name: path)
            if piece.isEmpty { return contents }
            contents.append(contentsOf: piece)
            guard contents.count <= bytesMax else {
                throw InputError(description: "\(path): larger than \(bytesMax) bytes.")
            }
        }
    }

    /// Waits for the next piece of standard input; empty at its end.
    static func readInput() async throws -> [UInt8] {
        try await read(STDIN_FILENO, name: "standard input")
    }

    /// Reads on a thread that may block: the tasks' own threads are few, and other tasks need them.
    private static func read(_ file: Int32, name: String) async throws -> [UInt8] {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(with: Result { try readOnce(file, name: name) })
            }
        }
    }

    private static func readOnce(_ file: Int32, name: String) throws -> [UInt8] {
        while true {
            var failure: Int32 = 0
            let piece = unsafe [UInt8](unsafeUninitializedCapacity: 262_144) { buffer, count in
                let got = unsafe systemRead(file, buffer.baseAddress, buffer.count)
                failure = got < 0 ? errno : 0
                count = max(got, 0)
            }
            if failure == 0 { return piece }
            if failure != EINTR { throw InputError(description: "\(name): \(reason(failure)).") }
        }
    }

    private static func write(_ bytes: [UInt8], to file: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = unsafe rest.withUnsafeBytes { unsafe systemWrite(file, $0.baseAddress, $0.count) }
            if written < 0 {
                if errno == EINTR { continue }
                return false
            }
            rest = rest.dropFirst(written)
        }
        return true
    }

    /// The system's words for an error number.
    private static func reason(_ number: Int32) -> String {
        unsafe strerror(number).map { unsafe String(cString: $0) } ?? "error \(number)"
    }
}

// The names read and write belong to `Terminal` above; these reach the system's.
private let systemRead = unsafe read(_:_:_:)
private let systemWrite = unsafe write(_:_:_:)

/// Calls back on signals, SIGINT and SIGTERM unless others are named, for as long as it lives, instead of the process
/// ending at once.
///
/// A second signal ends the process at once, with the exit code that shells use for the first one.
final class Interruption {
    private let sources: [any DispatchSourceSignal]

    init(on signals: [Int32] = [SIGINT, SIGTERM], _ handler: @escaping @Sendable () -> Void) {
        sources = signals.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                signal(number, SIG_DFL)
                handler()
            }
            source.resume()
            return source
        }
    }

    deinit {
        for source in sources { source.cancel() }
    }
}
