import Foundation

/// A file of the project, as text.
struct SourceFile: Sendable, CustomStringConvertible {
    /// The path from the project's root.
    let path: String
    /// What is in it.
    let text: String

    /// The lines, without their line feeds.
    var lines: [Substring] {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        return lines
    }

    /// Whether it is C.
    var isC: Bool { path.hasSuffix(".c") || path.hasSuffix(".h") }

    /// The target whose folder it is in.
    var target: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? path }

    /// The text without what stands in comments, texts and characters, which are blanked; lines stay lines.
    var code: String { Blanking(isC: isC).blanked(text) }

    var description: String { path }
}

/// The project's files.
enum SourceTree {
    /// The project's root.
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// All C of the core.
    static let core = files(in: "CModules", [".c", ".h"])

    /// The headers that other modules may include.
    static let publicHeaders = core.filter { $0.path.contains("/include/") }

    /// All Swift that is part of the program or the library.
    static let swift = files(in: "Sources", [".swift"])

    /// All tests in Swift and C.
    static let tests = files(in: "Tests", [".swift", ".c", ".h"])

    /// Everything that people write here in a programming language.
    static let all = core + swift + tests + files(named: "Package.swift")

    private static func files(named name: String) -> [SourceFile] {
        guard let text = try? String(contentsOf: root.appending(path: name), encoding: .utf8) else { return [] }
        return [SourceFile(path: name, text: text)]
    }

    private static func files(in folder: String, _ endings: [String]) -> [SourceFile] {
        let paths = FileManager.default.subpaths(atPath: root.appending(path: folder).path) ?? []
        return paths.sorted().filter { path in endings.contains { path.hasSuffix($0) } }
            .flatMap { files(named: "\(folder)/\($0)") }
    }

    /// Whether there is such a file.
    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appending(path: path).path)
    }
}

/// Blanks comments and literals, so that rules about code see code only.
struct Blanking {
    let isC: Bool

    /// The text with blanks where comments and literals were. Code inside interpolations is blanked too.
    func blanked(_ text: String) -> String {
        var bytes = Array(text.utf8)
        var at = 0
        while at < bytes.count {
            let end = skip(bytes, at)
            guard end > at else {
                at += 1
                continue
            }
            for index in at..<end where bytes[index] != UInt8(ascii: "\n") { bytes[index] = UInt8(ascii: " ") }
            at = end
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The end of the comment or literal that begins at a place; the place itself when none does.
    private func skip(_ bytes: [UInt8], _ at: Int) -> Int {
        if starts(bytes, at, with: "//") { return find(bytes, at, "\n", escapes: false) ?? bytes.count }
        if starts(bytes, at, with: "/*") { return end(bytes, at + 2, "*/", escapes: false) }
        if isC {
            if starts(bytes, at, with: "'") { return end(bytes, at + 1, "'", escapes: true) }
            return starts(bytes, at, with: "\"") ? end(bytes, at + 1, "\"", escapes: true) : at
        }
        var hashes = 0
        while at + hashes < bytes.count, bytes[at + hashes] == UInt8(ascii: "#") { hashes += 1 }
        let fence = String(repeating: "#", count: hashes)
        for quotes in ["\"\"\"", "\""] where starts(bytes, at + hashes, with: quotes) {
            return end(bytes, at + hashes + quotes.utf8.count, quotes + fence, escapes: hashes == 0)
        }
        return at
    }

    private func end(_ bytes: [UInt8], _ from: Int, _ mark: String, escapes: Bool) -> Int {
        find(bytes, from, mark, escapes: escapes).map { $0 + mark.utf8.count } ?? bytes.count
    }

    private func find(_ bytes: [UInt8], _ from: Int, _ mark: String, escapes: Bool) -> Int? {
        var at = from
        while at < bytes.count {
            if starts(bytes, at, with: mark) { return at }
            at += escapes && bytes[at] == UInt8(ascii: "\\") ? 2 : 1
        }
        return nil
    }

    private func starts(_ bytes: [UInt8], _ at: Int, with mark: String) -> Bool {
        bytes[min(at, bytes.count)...].starts(with: mark.utf8)
    }
}
