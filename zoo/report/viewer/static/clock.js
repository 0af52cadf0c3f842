// Several videos and one clock: they begin at one frame of the film, frame i of each is shown from
// i / rate on, and the first one leads.

/** Seconds by which a video may be behind before it is sent after the leader at once. */
const FAR = 0.4;

class Clock {
  /** @param {(frame: number, playing: boolean) => void} onFrame */
  constructor(onFrame) {
    this.onFrame = onFrame;
    /** @type {HTMLVideoElement[]} */
    this.videos = [];
    this.rate = 25;
    this.frames = 1;
    /** The first frame of the videos. */
    this.start = 0;
    this.frame = 0;
    this.playing = false;
    this.tick = this.tick.bind(this);
  }

  /**
   * Take a film, and stand where its videos start; they follow by `join`.
   * @param {number} rate
   * @param {number} frames
   * @param {number} start
   */
  begin(rate, frames, start) {
    this.stop();
    this.videos = [];
    [this.rate, this.frames, this.start, this.frame] = [rate, frames, start, start];
  }

  /**
   * Lead, or follow the one that leads, from the frame that is shown.
   * @param {HTMLVideoElement[]} videos
   */
  join(videos) {
    this.stop();
    for (const video of videos) if (!this.videos.includes(video)) this.listenTo(video);
    this.videos = videos;
    this.seek(this.frame);
  }

  /**
   * The middle of a frame's time: no rounding leads to its neighbour.
   * @param {number} frame
   */
  middle(frame) {
    return (frame - this.start + 0.5) / this.rate;
  }

  /**
   * The frame after the last one of a video; it may be shorter than the film.
   * @param {HTMLVideoElement} video
   */
  end(video) {
    return Math.min(this.frames, this.start + Math.round(video.duration * this.rate)) || 0;
  }

  /**
   * Whether a video has the frame that is shown.
   * @param {HTMLVideoElement} video
   */
  has(video) {
    return this.start <= this.frame && this.frame < this.end(video);
  }

  /** The last frame that can be played; before the start if there is none. */
  get last() {
    return (this.videos.length ? this.end(this.videos[0]) : 0) - 1;
  }

  /**
   * Show a frame, exactly.
   * @param {number} frame
   */
  seek(frame) {
    if (this.playing) this.stop();
    this.frame = Math.max(0, Math.min(this.frames - 1, Math.round(frame)));
    for (const video of this.videos) this.bring(video);
    this.onFrame(this.frame, false);
  }

  /**
   * Bring a video to the frame; while it is on its way only the last wish counts.
   * @param {HTMLVideoElement} video
   */
  bring(video) {
    if (this.playing || video.seeking || !this.has(video)) return;
    const wanted = this.middle(this.frame);
    if (Math.abs(video.currentTime - wanted) > 0.01 / this.rate) video.currentTime = wanted;
  }

  /** @param {HTMLVideoElement} video */
  listenTo(video) {
    if (video.dataset.listened) return;
    video.dataset.listened = "yes";
    video.addEventListener("seeked", () => this.videos.includes(video) && this.bring(video));
    video.addEventListener("loadedmetadata", () => this.videos.includes(video) && this.bring(video));
    video.addEventListener("ended", () => video === this.videos[0] && this.playing && this.stop());
  }

  toggle() {
    if (this.playing) this.stop();
    else this.play();
  }

  play() {
    if (this.last < this.start) return;
    if (this.frame < this.start || this.frame >= this.last) this.seek(this.start);
    this.playing = true;
    this.onFrame(this.frame, true);
    Promise.all(this.videos.map((video) => video.play())).catch(() => this.stop());
    requestAnimationFrame(this.tick);
  }

  /** Stop where the leader is, all on the same frame. */
  stop() {
    if (!this.playing) return;
    this.frame = this.led();
    this.playing = false;
    for (const video of this.videos) {
      video.pause();
      video.playbackRate = 1;
      // Sought whatever its time is: what is on the screen may be a frame ahead of it.
      if (this.has(video)) video.currentTime = this.middle(this.frame);
    }
    this.onFrame(this.frame, false);
  }

  /** The frame at which the leader is. */
  led() {
    const [lead] = this.videos;
    if (lead.ended) return this.last;
    const led = this.start + Math.floor(lead.currentTime * this.rate);
    return Math.max(this.start, Math.min(this.last, led));
  }

  tick() {
    if (!this.playing) return;
    const [lead, ...others] = this.videos;
    for (const video of others) this.steer(video, lead);
    const frame = this.led();
    if (frame !== this.frame) {
      this.frame = frame;
      this.onFrame(frame, true);
    }
    requestAnimationFrame(this.tick);
  }

  /**
   * Hold a video within half a frame of the leader: a little faster or slower, or by a leap.
   * @param {HTMLVideoElement} video
   * @param {HTMLVideoElement} lead
   */
  steer(video, lead) {
    const late = lead.currentTime - video.currentTime;
    if (Math.abs(late) > FAR) {
      if (!video.seeking) video.currentTime = lead.currentTime;
    } else {
      const near = Math.abs(late) < 0.2 / this.rate;
      video.playbackRate = near ? 1 : 1 + Math.max(-0.5, Math.min(0.5, late * 8));
    }
  }
}
