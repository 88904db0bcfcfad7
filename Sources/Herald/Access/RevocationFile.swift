import FoundationEssentials
import HeraldCore
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Where revocations outlive the server: a JSON object a line, `{"jti":…,"until":…}` or `{"sub":…,"before":…,"until":…}`.
///
/// A revocation that was answered is on disk. What a crash cut off at the end was not answered, and is dropped.
final class RevocationFile: Sendable {
    /// What is wrong with the file.
    struct Fault: Error, Sendable {
        /// What, for people.
        let what: String
    }

    /// Where it is.
    let path: String
    private let writing = Mutex<Void>(())

    /// Names a file, which need not be there yet.
    init(_ path: String) {
        self.path = path
    }

    /// Reads what still counts, and writes the file anew with that alone.
    func load(at now: Int64) throws(Fault) -> [Revocations.Entry] {
        var entries: [Revocations.Entry] = []
        if FileManager.default.fileExists(atPath: path) {
            guard let bytes = FileManager.default.contents(atPath: path) else { throw Fault(what: "it can't be read") }
            let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            // What follows the last line break is nothing, or was cut off.
            for (index, line) in lines.dropLast().enumerated() where !line.isEmpty {
                guard let entry = Revocations.Entry(line: Array(line)) else {
                    throw Fault(what: "line \(index + 1) is no revocation")
                }
                if entry.keptUntil > now { entries.append(entry) }
            }
        }
        try rewrite(entries)
        return entries
    }

    private func rewrite(_ entries: [Revocations.Entry]) throws(Fault) {
        let fresh = path + ".new"
        try write(entries.flatMap { $0.line + [UInt8(ascii: "\n")] }, to: fresh, O_TRUNC)
        guard unsafe rename(fresh, path) == 0 else { throw Self.fault("rename") }
        try syncFolder()
    }

    /// Has the disk know the file by its name, without which what is appended to it would be lost with it.
    private func syncFolder() throws(Fault) {
        let end = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let folder = end.map { String(path[...$0]) } ?? "."
        let file = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard file >= 0 else { throw Self.fault("open") }
        defer { close(file) }
        guard fsync(file) == 0 else { throw Self.fault("fsync") }
    }

    /// Adds an entry; it is on disk when the call returns.
    func append(_ entry: Revocations.Entry) throws(Fault) {
        try writing.withLock { _ throws(Fault) in
            try write(entry.line + [UInt8(ascii: "\n")], to: path, O_APPEND)
        }
    }

    private func write(_ bytes: [UInt8], to path: String, _ mode: Int32) throws(Fault) {
        let file = unsafe open(path, O_WRONLY | O_CREAT | O_CLOEXEC | mode, 0o600)
        guard file >= 0 else { throw Self.fault("open") }
        defer { close(file) }
        let length = lseek(file, 0, SEEK_END)
        do throws(Fault) {
            try Self.write(bytes, to: file)
        } catch {
            // What was written of it would spoil the next line.
            _ = ftruncate(file, max(0, length))
            throw error
        }
    }

    private static func write(_ bytes: [UInt8], to file: Int32) throws(Fault) {
        var rest = bytes[...]
        while !rest.isEmpty {
            #if canImport(Darwin)
            let count = unsafe rest.withUnsafeBytes { unsafe Darwin.write(file, $0.baseAddress, $0.count) }
            #elseif canImport(Musl)
            let count = unsafe rest.withUnsafeBytes { unsafe Musl.write(file, $0.baseAddress, $0.count) }
            #else
            let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(file, $0.baseAddress, $0.count) }
            #endif
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw fault("write") }
            rest = rest.dropFirst(count)
        }
        guard fsync(file) == 0 else { throw fault("fsync") }
    }

    private static func fault(_ call: String) -> Fault {
        Fault(what: "\(call): \(unsafe String(cString: strerror(errno)))")
    }
}

extension Revocations.Entry {
    /// The entry as a line of the file, without its end.
    fileprivate var line: [UInt8] {
        var json = JSONWriter()
        json.open()
        switch target {
        case .token(let id): json.member("jti", id)
        case .subject(let subject):
            json.member("sub", subject)
            json.member("before", issuedUntil)
        }
        json.member("until", keptUntil)
        json.close()
        return json.bytes
    }

    /// Reads a line of the file; nil when it is none.
    fileprivate init?(line: [UInt8]) {
        guard let value = try? JSONValue(parsing: line), let until = value["until"]?.asWhole else { return nil }
        if let id = value["jti"]?.asText {
            self.init(target: .token(id), issuedUntil: 0, keptUntil: until)
        } else if let subject = value["sub"]?.asText, let before = value["before"]?.asWhole {
            self.init(target: .subject(subject), issuedUntil: before, keptUntil: until)
        } else {
            return nil
        }
    }
}

extension JSONValue {
    /// The whole number, if this is one.
    var asWhole: Int64? {
        if case .number(let text) = self { Int64(text) } else { nil }
    }
}
